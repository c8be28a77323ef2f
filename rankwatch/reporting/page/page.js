// The page of rankwatch's figures: one cursor for all of them, layers that can be switched, light and dark.
//
// `rankwatchPage.show(root, data, options)` builds it from what `rankwatch.reporting.page.page_data` makes. Everything that
// comes from a file is put in as text. Options, all of which may be left out:
//   state    what to begin with, as "step=240&layers=L01,L04&focus=L04&relative=1&theme=dark"; the address's part behind #
//   onState  hears of each new state; it is put behind the address's # otherwise
//   isDark   whether the page is dark where nobody has chosen; as the browser has it otherwise
//   view     what `view()` of a page before has given: its zoom, and the tables that were open
//   onReady  is called once all is drawn
//   Plotly   the library
// It returns `view`, and `remove`, which takes down what listens.
(function (global) {
  "use strict";
  const { element, details, tableOf, nearest } = global.rankwatchPage.parts;

  function show(root, data, options) {
    options = options || {};
    const several = data.runs.length > 1;
    const labels = data.layers.map((layer) => layer.label);
    const steps = data.steps;
    const view = options.view || { zoom: null, open: {} };
    const state = readState(options.state !== undefined ? options.state : location.hash.slice(1));
    const page = { data, state, labels, steps, several, dark, look, moveTo, Plotly: options.Plotly || global.Plotly, gone: false };
    const figures = global.rankwatchPage.figures(page);
    const chips = {};
    const began = performance.now();
    let frame = 0, writing = 0, reloading = 0, slider, readout, chosen, compared;

    root.replaceChildren();
    root.classList.add("rankwatch");
    header();
    data.runs.forEach(verdict);
    toolbar();
    data.figures.forEach((one, i) => {
      figures.add(root, one);
      const next = data.figures[i + 1];
      if (one.id === "ranks" && !(next && next.id === "ranks")) comparison();
    });
    data.tables.forEach((table) => tableOf(root, table));
    allDetails().forEach((box) => { if (titleOf(box) in view.open) box.open = view.open[titleOf(box)]; });
    paint();
    figures.draw(view.zoom, () => {
      root.dataset.ready = "yes";
      // Only now, and not all the time, however long the page takes to be drawn.
      if (data.refresh) reloading = setTimeout(reload, Math.max(1000 * data.refresh, 5 * (performance.now() - began)));
      if (options.onReady) options.onReady();
    });
    document.addEventListener("keydown", keys);
    return { view: viewOf, remove };

    function reload() {
      saveState();
      if (document.visibilityState === "visible") location.reload(); else reloading = setTimeout(reload, 2000);
    }
    function allDetails() { return [...root.querySelectorAll("details")]; }
    function titleOf(box) { return box.dataset.of || box.firstChild.textContent; }
    function viewOf() {
      return { zoom: figures.zoom(), open: Object.fromEntries(allDetails().map((box) => [titleOf(box), box.open])) };
    }
    function remove() {
      page.gone = true;
      clearTimeout(writing);
      clearTimeout(reloading);
      cancelAnimationFrame(frame);
      document.removeEventListener("keydown", keys);
      figures.remove();
    }

    // State ----------------------------------------------------------------------------------------------------------
    function readState(text) {
      const asked = new URLSearchParams(text || "");
      const known = (asked.get("layers") || "").split(",").filter((label) => labels.includes(label));
      const step = Number(asked.get("step"));
      return {
        step: asked.has("step") && Number.isFinite(step) ? steps[nearest(steps, step)] : data.step,
        focus: labels.includes(asked.get("focus")) ? asked.get("focus") : data.focus,
        layers: new Set(known.length ? known : several ? [data.focus] : labels),
        relative: asked.get("relative") === "1",
        theme: ["light", "dark"].includes(asked.get("theme")) ? asked.get("theme") : "",
      };
    }
    function writeState() { // not at each of the cursor's many steps
      clearTimeout(writing);
      writing = setTimeout(saveState, 150);
    }
    function saveState() {
      clearTimeout(writing);
      const all = state.layers.size === labels.length;
      // The newest step isn't named: a page that is opened again, or goes on, shows the newest there is then.
      const parts = { step: state.step === data.step ? "" : state.step, focus: state.focus, relative: state.relative ? "1" : "",
        theme: state.theme, layers: all ? "" : [...state.layers].join(",") };
      const text = Object.entries(parts).filter((pair) => pair[1] !== "").map(([k, v]) => k + "=" + encodeURIComponent(v)).join("&");
      if (options.onState) options.onState(text);
      else history.replaceState(null, "", location.pathname + location.search + "#" + text);
    }
    function dark() {
      if (state.theme) return state.theme === "dark";
      return options.isDark ? options.isDark() : matchMedia("(prefers-color-scheme: dark)").matches;
    }

    // Head and toolbar -----------------------------------------------------------------------------------------------
    function header() {
      const top = element(root, "header");
      element(top, "strong", "brand", "rankwatch");
      element(top, "span", "title", data.title).title = data.title;
      element(top, "span", "space");
      element(top, "span", "quiet", data.generated);
      const button = element(top, "button", "", "light / dark");
      button.onclick = () => { state.theme = dark() ? "light" : "dark"; repaint(); };
    }
    function verdict(run) {
      const box = element(root, "section", "verdict " + run.verdict.level);
      const line = element(box, "h1");
      if (several) { element(line, "i", "swatch").style.background = run.colour; element(line, "span", "", run.name + ": "); }
      element(line, "span", "word", run.verdict.word);
      element(line, "span", "", run.verdict.title);
      element(line, "span", "quiet", run.verdict.lead);
      const inner = several && run.verdict.facts.length ? details(box, "what and why") : box;
      if (inner !== box) inner.dataset.of = "verdict of " + run.name;
      const facts = element(inner, "dl");
      run.verdict.facts.forEach(([name, text]) => { const one = element(facts, "div"); element(one, "dt", "", name); element(one, "dd", "", text); });
      run.problems.forEach((text) => element(box, "p", "problem", text));
    }
    function toolbar() {
      const bar = element(root, "nav");
      const first = element(bar, "div", "row");
      element(first, "label", "", "step");
      slider = element(first, "input");
      Object.assign(slider, { type: "range", min: 0, max: steps.length - 1, value: steps.indexOf(state.step) });
      slider.setAttribute("aria-label", "step of the cursor");
      slider.oninput = () => moveTo(steps[Number(slider.value)]);
      readout = element(first, "output");
      if (!several) {
        element(first, "label", "", "spectrum of");
        chosen = element(first, "select");
        labels.forEach((label) => { element(chosen, "option", "", label).value = label; });
        chosen.onchange = () => { state.layers.add(chosen.value); look(chosen.value); };
      }
      const scale = element(first, "button", "", "");
      scale.onclick = () => { state.relative = !state.relative; named(); repaint(["ranks", "heatmap"]); };
      const named = () => { scale.textContent = state.relative ? "show effective rank" : "show % of usual rank"; };
      named();
      const second = element(bar, "div", "row chips" + (labels.length > 30 ? " many" : ""));
      const ends = labels.length > 1 ? " (" + labels[0] + ": first, " + labels[labels.length - 1] + ": last)" : "";
      element(second, "label", "", (several ? "layer" : "layers") + ends);
      labels.forEach((label, depth) => {
        const chip = chips[label] = element(second, "button", "chip", label);
        chip.title = data.layers[depth].layer + (several ? "" : "\nclick: show or hide; shift: this one alone");
        chip.onclick = (event) => pick(label, event.shiftKey !== several);
      });
      if (!several) {
        element(second, "button", "", "all").onclick = () => { state.layers = new Set(labels); look(state.focus); };
        element(second, "button", "", "none").onclick = () => { state.layers = new Set([state.focus]); look(state.focus); };
      }
    }
    function comparison() {
      if (!several) return;
      if (data.comparison.refusal) element(root, "p", "problem", data.comparison.refusal + " They are shown one below the other.");
      compared = element(root, "section", "comparison");
      compare();
    }
    function compare() {
      if (!compared) return;
      compared.replaceChildren();
      data.comparison.tables.filter((table) => !table.layer || table.layer === state.focus).forEach((table) => { tableOf(compared, { ...table, open: true }); });
    }

    // What is chosen -------------------------------------------------------------------------------------------------
    function pick(label, alone) {
      if (alone) state.layers = new Set([label]);
      else if (!state.layers.delete(label)) state.layers.add(label);
      if (!state.layers.size) state.layers.add(label);
      look(state.layers.has(label) ? label : state.focus);
    }
    function look(label) {
      state.focus = label;
      repaint(["ranks", "drift", "labelled", "spectra"]);
      compare();
    }
    function keys(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && event.target !== slider && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
        moveTo(steps[Math.min(Math.max(steps.indexOf(state.step) + by, 0), steps.length - 1)]);
        event.preventDefault();
      }
    }
    function moveTo(step) {
      state.step = step;
      if (frame) return;
      frame = requestAnimationFrame(() => {
        frame = 0;
        slider.value = steps.indexOf(state.step);
        read();
        figures.moved();
        writeState();
      });
    }
    function read() {
      const said = data.runs.map((run) => {
        const i = nearest(run.steps, state.step);
        const word = ["", ", warning", ", critical"][run.levels_of_alarm[i]] || "";
        return (run.health[i] === null ? "" : "health " + run.health[i].toFixed(2)) + (word || (run.early[i] ? ", too early to tell" : ""));
      });
      readout.textContent = state.step.toLocaleString("en") + (several || !said[0] ? "" : " · " + said[0]);
    }
    function repaint(ids) {
      paint();
      figures.repaint(ids);
      writeState();
    }
    function paint() {
      root.dataset.theme = document.documentElement.dataset.theme = dark() ? "dark" : "light";
      labels.forEach((label, depth) => {
        const on = state.layers.has(label), chip = chips[label];
        chip.style.setProperty("--of", several ? "#8a8f98" : data.palette[dark() ? "dark" : "light"][depth]);
        chip.classList.toggle("on", on);
        chip.classList.toggle("focus", label === state.focus);
        chip.setAttribute("aria-pressed", on);
      });
      if (chosen) chosen.value = state.focus;
      read();
    }
  }

  global.rankwatchPage.show = show;
})(typeof globalThis !== "undefined" ? globalThis : window);
