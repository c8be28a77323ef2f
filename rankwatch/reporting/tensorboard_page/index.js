// The page inside of TensorBoard: which runs are looked at, what is new of them, and where that stands in the address.
//
// TensorBoard shows it in a frame, which stays alive when another tab is looked at: nothing is asked for while it can't be
// seen. All addresses are relative, so it works behind any prefix. Everything that comes from a log folder is put in as text.
const RUNNING = 5000, ENDED = 30000, READING = 700, LISTED = 15000, MOST_LISTED = 500; // ms, and runs
const IN_TENSORBOARD = "p.rankwatch.state="; // TensorBoard leaves what begins with "p." in its address alone
const at = (name) => new URL(name, import.meta.url).href;

export async function render() {
  const link = document.createElement("link");
  Object.assign(link, { rel: "stylesheet", href: at("page.css") });
  document.head.appendChild(link);
  await script("page.js");
  const { element } = window.rankwatchPage.parts;
  const page = { chosen: [], rest: "", listed: [], most: 8, known: "", shown: null, timer: 0, waiting: false, asked: 0, listedAt: 0 };
  page.bar = element(document.body, "div", "rankwatch-runs");
  page.said = element(document.body, "div", "rankwatch-said");
  page.stage = element(document.body, "div", "rankwatch-stage");
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  readAddress(page);
  picker(page, element);
  const wake = () => { if (page.waiting && canBeSeen()) { page.waiting = false; look(page); } };
  window.addEventListener("resize", wake);
  document.addEventListener("visibilitychange", wake);
  await look(page);
}

function script(name) {
  return new Promise((done, failed) => {
    const made = document.createElement("script");
    Object.assign(made, { src: at(name), onload: done, onerror: () => failed(new Error(name + " could not be loaded")) });
    document.head.appendChild(made);
  });
}
async function ask(name, parts) {
  const answer = await fetch(at(name) + (parts ? "?" + parts : ""), { credentials: "same-origin" });
  if (!answer.ok) throw new Error("TensorBoard answers " + answer.status);
  return answer.json();
}
function canBeSeen() { // TensorBoard gives the frame of another tab no height
  return document.visibilityState === "visible" && window.innerHeight > 0;
}
function outside() { // the window around the frame, where it is TensorBoard's
  try { return window.parent !== window && window.parent.document ? window.parent : null; } catch { return null; }
}
function isDark() {
  const around = outside();
  if (around) return around.document.body.classList.contains("dark-mode");
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// What is looked at, in the address -----------------------------------------------------------------------------------
function readAddress(page) {
  const around = outside();
  const there = around && around.location.hash.slice(1).split("&").find((part) => part.startsWith(IN_TENSORBOARD));
  let text = location.hash.slice(1);
  try { text = text || decodeURIComponent((there || "").slice(IN_TENSORBOARD.length)); } catch { text = ""; }
  const asked = new URLSearchParams(text);
  page.chosen = asked.getAll("run");
  asked.delete("run");
  page.rest = asked.toString();
}
function writeAddress(page) {
  const parts = new URLSearchParams(page.rest);
  page.chosen.forEach((name) => parts.append("run", name));
  const text = parts.toString(), around = outside();
  history.replaceState(null, "", location.pathname + location.search + "#" + text);
  page.alone.href = location.href;
  if (!around || !/^#rankwatch(&|$)/.test(around.location.hash)) return;
  const others = around.location.hash.slice(1).split("&").filter((part) => !part.startsWith(IN_TENSORBOARD));
  const hash = "#" + [...others, IN_TENSORBOARD + encodeURIComponent(text)].join("&");
  around.history.replaceState(around.history.state, "", around.location.pathname + around.location.search + hash);
}

// Which runs ------------------------------------------------------------------------------------------------------------
function picker(page, element) {
  page.box = element(page.bar, "details");
  page.title = element(page.box, "summary", "", "runs");
  const list = element(page.box, "div", "list");
  page.filter = element(list, "input");
  Object.assign(page.filter, { type: "search", placeholder: "part of a name", oninput: () => listRuns(page) });
  page.names = element(list, "div");
  page.about = element(page.bar, "span", "quiet");
  page.alone = element(page.bar, "a", "", "this page by itself");
  Object.assign(page.alone, { target: "_blank", rel: "noopener", href: location.href });
  document.addEventListener("click", (event) => { if (!page.box.contains(event.target)) page.box.open = false; });
}
function listRuns(page) {
  const { element } = window.rankwatchPage.parts;
  const part = page.filter.value.toLowerCase();
  const fitting = page.listed.filter((run) => run.name.toLowerCase().includes(part));
  page.title.textContent = page.chosen.length + " of " + page.listed.length + " run" + (page.listed.length === 1 ? "" : "s");
  page.names.replaceChildren();
  fitting.slice(0, MOST_LISTED).forEach((run) => {
    const line = element(page.names, "label"), box = element(line, "input");
    Object.assign(box, { type: "checkbox", checked: page.chosen.includes(run.name), onchange: () => choose(page, run.name) });
    box.disabled = !box.checked && page.chosen.length >= page.most;
    element(line, "span", "", " " + run.name);
    element(line, "span", "quiet", run.from === "records" ? "" : " (from event files)");
  });
  if (fitting.length > MOST_LISTED) element(page.names, "p", "quiet", fitting.length - MOST_LISTED + " more: name a part of what you look for");
  if (!fitting.length) element(page.names, "p", "quiet", "none");
}
function choose(page, name) {
  page.chosen = page.chosen.includes(name) ? page.chosen.filter((one) => one !== name) : [...page.chosen, name];
  page.rest = "";
  page.known = "";
  listRuns(page);
  writeAddress(page);
  if (!page.chosen.length) hide(page);
  look(page);
}

// What is new -----------------------------------------------------------------------------------------------------------
async function look(page) {
  clearTimeout(page.timer);
  if (!canBeSeen()) { page.waiting = true; return; }
  const mine = ++page.asked; // an answer to an older question is dropped
  let wait = RUNNING;
  try {
    if (Date.now() - page.listedAt > (page.listed.length ? LISTED : RUNNING / 2)) await list(page);
    wait = page.chosen.length ? await news(page, mine) : RUNNING;
  } catch (error) {
    say(page, ["Nothing new can be had: " + error.message + ". It is tried again."]);
  }
  if (mine === page.asked) page.timer = setTimeout(() => look(page), wait);
}
async function list(page) {
  const answer = await ask("runs");
  Object.assign(page, { listed: answer.runs, most: answer.most, notes: answer.notes, listedAt: Date.now(), library: answer.library });
  if (!page.chosen.length && answer.runs.length && !page.picked) page.chosen = [answer.runs[0].name];
  page.picked = page.picked || page.chosen.length > 0; // somebody who has unticked all wants to see none
  listRuns(page);
  if (page.listed.length) return;
  say(page, ["No run of rankwatch's is in this log folder yet. Each run writes its records into a folder \"rankwatch\" beside the event files; they are shown "
    + "as soon as there is a first reading."]);
}
async function news(page, mine) {
  const parts = new URLSearchParams(page.chosen.map((name) => ["run", name]));
  parts.append("state", page.known);
  const began = Date.now(), answer = await ask("data", parts);
  if (mine !== page.asked) return RUNNING;
  const reading = answer.reading.map((one) => "reading " + one.name + ": " + Math.floor(100 * one.part) + " %");
  page.about.textContent = reading.join(", ") || "as of " + new Date().toLocaleTimeString();
  say(page, [...answer.problems, ...(answer.failure ? [answer.failure] : [])]);
  if (answer.data) {
    if (!window.Plotly) await script("plotly.js?v=" + encodeURIComponent(page.library));
    if (mine !== page.asked) return RUNNING;
    page.known = answer.state;
    page.goesOn = answer.data.runs.some((run) => !run.ended);
    show(page, answer.data);
    page.pause = 10 * (Date.now() - began); // a large run isn't sent every few seconds
  }
  return answer.reading.length ? READING : Math.max(page.goesOn === false ? ENDED : RUNNING, page.pause || 0);
}
function hide(page) { // nobody is chosen any more
  [page.next, page.shown].forEach((one) => one && one.remove());
  page.stage.replaceChildren();
  Object.assign(page, { shown: null, next: null, coming: null, root: null });
  page.about.textContent = "";
  say(page, []);
}
function show(page, data) { // drawn unseen, and put in the place of what is there when it is complete
  const { element } = window.rankwatchPage.parts;
  page.coming && page.coming.remove();
  page.next && page.next.remove();
  const before = page.shown, old = page.root;
  const root = page.coming = element(page.stage, "div", before ? "coming" : "");
  root.id = "page";
  const next = page.next = window.rankwatchPage.show(root, data, {
    state: page.rest,
    isDark,
    view: before ? before.view() : undefined,
    onState: (text) => { page.rest = text; writeAddress(page); },
    onReady: () => {
      root.classList.remove("coming");
      if (before) { before.remove(); old.remove(); }
      Object.assign(page, { shown: next, root, next: null, coming: null });
    },
  });
  writeAddress(page);
}
function say(page, sentences) {
  const { element } = window.rankwatchPage.parts;
  page.said.replaceChildren();
  [...sentences, ...(page.notes || [])].forEach((text) => element(page.said, "p", "", text));
}
