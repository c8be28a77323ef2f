// The page of rankwatch's figures: one cursor for all of them, layers that can be switched, light and dark.
//
// `rankwatchPage.show(root, data, options)` builds it from what `rankwatch.reporting.page.page_data` makes. Everything that
// comes from a file is put in as text. `options.state` is the state to begin with and `options.onState` hears of each new
// one, both as "step=240&layers=L01,L04&focus=L04&relative=1&theme=dark"; by default both are the address's part behind #.
(function (global) {
  "use strict";
  const MISSING = 255, DECADES = 6.35, FEW = 8;

  function bytes(text) {
    const letters = atob(text), found = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) found[i] = letters.charCodeAt(i);
    return found;
  }
  function numbers(value) { // plotly's arrays of bytes, or plain ones
    if (!value || value.bdata === undefined) return Array.from(value || []);
    const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array, i2: Int16Array, i1: Int8Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
    const raw = bytes(value.bdata);
    return new kinds[value.dtype](raw.buffer);
  }
  function plain(text) { // plotly reads a few tags, entities and templates
    return text.replace(/[&<>{$]/g, (letter) => "&#" + letter.charCodeAt(0) + ";");
  }
  function element(parent, tag, name, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined && text !== null) made.textContent = text;
    if (parent) parent.appendChild(made);
    return made;
  }
  function nearest(steps, step) { // the place of the newest step up to this one, or of the first
    let low = 0, high = steps.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (steps[middle] <= step) low = middle; else high = middle - 1;
    }
    return low;
  }

  function show(root, data, options) {
    options = options || {};
    const Plotly = options.Plotly || global.Plotly;
    const several = data.runs.length > 1;
    const labels = data.layers.map((layer) => layer.label);
    const steps = data.steps;
    const state = readState(options.state !== undefined ? options.state : location.hash.slice(1));
    const plots = []; // of each figure: what it is made from, its element, and its cursors once it is drawn
    const chips = {};
    let frame = 0, writing = 0, slider, readout, chosen;

    root.replaceChildren();
    root.classList.add("rankwatch");
    header();
    data.runs.forEach(verdict);
    toolbar();
    data.figures.forEach((one, i) => {
      figure(one);
      const next = data.figures[i + 1];
      if (one.id === "ranks" && !(next && next.id === "ranks")) comparison();
    });
    data.tables.forEach((table) => tableOf(root, table));
    paint();
    // What is seen at once is drawn at once; the rest as soon as there is time.
    draw(plots.filter((plot) => plot.first), () => draw(plots.filter((plot) => !plot.first), ready));
    document.onkeydown = keys;
    if (data.refresh) setTimeout(reload, 1000 * data.refresh);

    function ready() { root.dataset.ready = "yes"; }
    function reload() {
      if (document.visibilityState === "visible") location.reload(); else setTimeout(reload, 2000);
    }

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
    function writeState() {
      clearTimeout(writing);
      writing = setTimeout(() => {
        const all = state.layers.size === labels.length;
        const parts = { step: state.step, focus: state.focus, relative: state.relative ? "1" : "", theme: state.theme,
          layers: all ? "" : [...state.layers].join(",") };
        const text = Object.entries(parts).filter((pair) => pair[1] !== "").map(([k, v]) => k + "=" + encodeURIComponent(v)).join("&");
        if (options.onState) options.onState(text);
        else history.replaceState(null, "", location.pathname + location.search + "#" + text);
      }, 150);
    }
    function dark() {
      return state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    }

    function header() {
      const top = element(root, "header");
      element(top, "strong", "brand", "rankwatch");
      element(top, "span", "title", data.title).title = data.title;
      element(top, "span", "space");
      element(top, "span", "quiet", data.generated);
      const button = element(top, "button", "", "light / dark");
      button.onclick = () => { state.theme = dark() ? "light" : "dark"; paint(); recolour(); writeState(); };
    }
    function verdict(run) {
      const box = element(root, "section", "verdict " + run.verdict.level);
      const line = element(box, "h1");
      if (several) { element(line, "i", "swatch").style.background = run.colour; element(line, "span", "", run.name + ": "); }
      element(line, "span", "word", run.verdict.word);
      element(line, "span", "", run.verdict.title);
      element(line, "span", "quiet", run.verdict.lead);
      const facts = element(several ? details(box, "what and why") : box, "dl");
      run.verdict.facts.forEach(([name, text]) => { const one = element(facts, "div"); element(one, "dt", "", name); element(one, "dd", "", text); });
      run.problems.forEach((text) => element(box, "p", "problem", text));
    }
    function details(parent, title) {
      const made = element(parent, "details");
      element(made, "summary", "", title);
      return made;
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
        chosen.onchange = () => focus(chosen.value);
      }
      const scale = element(first, "button", "", "");
      scale.onclick = () => { state.relative = !state.relative; named(); rescale(); writeState(); };
      const named = () => { scale.textContent = state.relative ? "show effective rank" : "show % of own reference"; };
      named();
      const second = element(bar, "div", "row chips" + (labels.length > 30 ? " many" : ""));
      element(second, "label", "", several ? "layer" : "layers");
      labels.forEach((label, depth) => {
        const chip = chips[label] = element(second, "button", "chip", label);
        chip.title = data.layers[depth].layer + (several ? "" : "\nclick: show or hide; shift: this one alone");
        chip.onclick = (event) => pick(label, event.shiftKey !== several);
      });
      if (!several) {
        element(second, "button", "", "all").onclick = () => { state.layers = new Set(labels); switchLayers(); };
        element(second, "button", "", "none").onclick = () => { state.layers = new Set([state.focus]); switchLayers(); };
      }
    }
    function pick(label, alone) {
      if (alone) state.layers = new Set([label]);
      else if (!state.layers.delete(label)) state.layers.add(label);
      if (!state.layers.size) state.layers.add(label);
      if (state.layers.has(label)) state.focus = label;
      switchLayers();
    }
    function focus(label) {
      state.focus = label;
      if (!state.layers.has(label)) state.layers.add(label);
      switchLayers();
    }
    function keys(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by && event.target !== slider && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
        moveTo(steps[Math.min(Math.max(steps.indexOf(state.step) + by, 0), steps.length - 1)]);
        event.preventDefault();
      }
    }

    function figure(one) {
      const section = element(root, "section", "figure " + one.id);
      if (one.caption) element(section, "p", "caption", one.caption);
      const box = element(section, "div", "plot");
      box.style.height = one.figure.layout.height + "px";
      const plot = { ...one, box, traces: one.figure.data, layout: one.figure.layout, drawn: false };
      plot.y = plot.traces.map((trace) => trace.meta && trace.meta.role !== "heatmap" && trace.meta.layer ? numbers(trace.y) : null);
      plots.push(plot);
    }
    function draw(some, then) {
      if (!some.length) return then && then();
      const plot = some[0];
      delete plot.layout.height;
      dress(plot);
      Plotly.newPlot(plot.box, plot.traces, plot.layout, { responsive: true, displaylogo: false, displayModeBar: false }).then(() => {
        plot.drawn = true;
        performance.mark("rankwatch " + plot.id);
        plot.box.on("plotly_click", (event) => clicked(plot, event));
        plot.box.on("plotly_relayout", (event) => zoomed(plot, event));
        plot.box.on("plotly_afterplot", () => place(plot));
        place(plot);
        setTimeout(() => draw(some.slice(1), then), 0);
      });
    }
    function place(plot) { // its cursor: an element over the picture, since drawing 100 curves anew takes too long
      if (!plot.steps) return;
      const full = plot.box._fullLayout, size = full._size;
      plot.cursors = plot.cursors || Object.keys(full).filter((key) => /^xaxis\d*$/.test(key)).map((key) => [key, element(plot.box, "i", "cursor")]);
      plot.cursors.forEach(([key, line]) => {
        const { domain, range } = full[key];
        const part = (state.step - range[0]) / (range[1] - range[0]);
        line.hidden = !(part >= 0 && part <= 1);
        line.style.transform = "translateX(" + (size.l + size.w * (domain[0] + (domain[1] - domain[0]) * part)).toFixed(1) + "px)";
        line.style.top = size.t + "px";
        line.style.height = size.h + "px";
      });
    }
    function clicked(plot, event) {
      const point = event.points && event.points[0];
      if (!point || !plot.steps) return;
      const meta = point.data.meta || {};
      if (meta.layer && meta.layer !== state.focus) { state.focus = meta.layer; switchLayers(); }
      moveTo(steps[nearest(steps, Number(point.x))]);
    }
    function zoomed(plot, event) { // one zoom for all
      const auto = Object.keys(event).some((key) => /^xaxis\d*\.autorange$/.test(key));
      const from = Object.keys(event).find((key) => /^xaxis\d*\.range\[0\]$/.test(key));
      if (zoomed.busy || !plot.steps || (!auto && !from)) return;
      const change = auto ? { "xaxis.autorange": true } : { "xaxis.range": [event[from], event[from.replace("[0]", "[1]")]] };
      zoomed.busy = true;
      Promise.all(plots.filter((other) => other !== plot && other.drawn && other.steps).map((other) => Plotly.relayout(other.box, change)))
        .finally(() => { zoomed.busy = false; });
    }

    function moveTo(step) {
      state.step = step;
      if (frame) return;
      frame = requestAnimationFrame(() => { frame = 0; moved(); });
    }
    function moved() {
      slider.value = steps.indexOf(state.step);
      read();
      plots.filter((plot) => plot.drawn).forEach((plot) => {
        place(plot);
        if (plot.id === "spectra") respectrum(plot);
      });
      writeState();
    }
    function read() {
      const said = data.runs.map((run) => {
        const i = nearest(run.steps, state.step);
        const word = ["", ", warning", ", critical"][run.levels_of_alarm[i]] || "";
        return (several ? run.name + " " : "") + (run.health[i] === null ? "" : "health " + run.health[i].toFixed(2)) + word;
      });
      readout.textContent = state.step.toLocaleString("en") + (several ? "" : " · " + said[0]);
    }

    // Layers, scale, theme -------------------------------------------------------------------------------------------
    function visible(trace) {
      if (!trace.meta || !trace.meta.layer) return true;
      const bands = state.layers.size * data.runs.length <= FEW;
      return state.layers.has(trace.meta.layer) && (trace.meta.role === "line" || bands);
    }
    function scaled(plot, i) {
      const meta = plot.traces[i].meta;
      const usual = data.references[[meta.run, meta.source, meta.level, meta.layer].join("|")];
      return state.relative && usual ? plot.y[i].map((value) => value * 100 / usual) : plot.y[i];
    }
    function dress(plot) { // bring a figure that isn't drawn yet to the state of the page
      const ink = data.text[dark() ? "dark" : "light"];
      plot.traces.forEach((trace, i) => {
        trace.visible = visible(trace);
        if (plot.id === "ranks" && plot.y[i]) trace.y = scaled(plot, i);
        const colour = colourOf(trace);
        if (colour) Object.assign(trace, colour);
      });
      Object.assign(plot.layout, { paper_bgcolor: "rgba(0,0,0,0)", font: { ...plot.layout.font, color: ink } });
      (plot.layout.annotations || []).forEach((note) => { note.font.color = ink; });
      plot.layout.hoverlabel = { bgcolor: dark() ? "#262c36" : "#ffffff", font: { color: ink }, align: "left" };
      if (plot.id === "spectra") curvesOf(plot).forEach(([i, x, y]) => Object.assign(plot.traces[i], { x, y }));
      if (plot.id === "heatmap") plot.traces.forEach((trace) => heat(plot, trace));
      titles(plot);
    }
    function colourOf(trace) {
      const meta = trace.meta;
      if (several || !meta || (meta.depth === undefined && meta.role !== "now")) return null;
      const colour = data.palette[dark() ? "dark" : "light"][meta.role === "now" ? labels.indexOf(state.focus) : meta.depth];
      if (meta.role === "band") return { fillcolor: colour + "29" };
      return { line: { ...trace.line, color: colour }, marker: { ...trace.marker, color: colour } };
    }
    function titles(plot) {
      const unit = state.relative ? "% of its reference" : "effective rank";
      (plot.layout.annotations || []).forEach((note) => {
        note.text = note.text.replace(/(^|: )(% of its reference|effective rank),/, "$1" + unit + ",");
        if (plot.id === "spectra") note.text = note.text.replace(/^.*(?=, \S+ level$)/, () => plain(state.focus));
      });
      if (plot.id === "ranks") Object.keys(plot.layout).filter((key) => /^yaxis/.test(key)).forEach((key) => { plot.layout[key].ticksuffix = state.relative ? "%" : ""; });
    }
    function heat(plot, trace) {
      trace.rows = trace.rows || { flat: numbers(trace.z), shape: String(trace.z.shape || "").split(",").map(Number) };
      const [count, width] = trace.rows.shape;
      trace.z = [...Array(count).keys()].map((i) => {
        const usual = data.references[[trace.meta.run, trace.meta.source, trace.meta.level, data.runs[trace.meta.run].labels[i]].join("|")];
        const row = trace.rows.flat.slice(i * width, (i + 1) * width);
        return state.relative && usual ? row.map((value) => value * 100 / usual) : row;
      });
      const axis = plot.layout[trace.coloraxis];
      axis.most = axis.most || axis.cmax;
      axis.cmax = state.relative ? 110 : axis.most;
    }
    function switchLayers() { repaint(["ranks", "labelled", "spectra"]); compare(); }
    function rescale() { repaint(["ranks", "heatmap"]); }
    function recolour() { repaint(plots.map((plot) => plot.id)); }
    function repaint(ids) {
      paint();
      plots.filter((plot) => plot.drawn && ids.includes(plot.id)).forEach((plot) => {
        dress(plot);
        Plotly.react(plot.box, plot.traces, plot.layout);
      });
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
      if (slider) read();
    }

    // Spectra at the cursor ------------------------------------------------------------------------------------------
    function curvesOf(plot) {
      return plot.traces.map((trace, i) => {
        const { run, level, role } = trace.meta, of = data.runs[run].spectra;
        if (!of.steps.length) return [i, [], []];
        const place = nearest(of.steps, role === "healthy" ? data.runs[run].healthy : state.step);
        const early = role === "healthy" && data.runs[run].healthy === null;
        if (role !== "others") { const [x, y] = early ? [[], []] : spectrum(of, level + "|" + state.focus, place, role === "usual"); return [i, x, y]; }
        const xs = [], ys = [];
        labels.filter((label) => label !== state.focus).forEach((label) => {
          const [x, y] = spectrum(of, level + "|" + label, place);
          xs.push(...x, null); ys.push(...y, null);
        });
        return [i, xs, ys];
      });
    }
    function spectrum(of, key, place, usual) {
      const one = of.curves[key];
      if (!one) return [[], []];
      one.bytes = one.bytes || bytes(one.codes);
      one.mean = one.mean || bytes(one.usual);
      const codes = usual ? one.mean : one.bytes.subarray(place * one.points, (place + 1) * one.points);
      const y = Array.from(codes, (code) => (code === MISSING ? null : Math.pow(10, -code * DECADES / 254)));
      one.x = one.x || y.map((_, i) => Math.pow(Math.max(one.width, 1), i / Math.max(one.points - 1, 1)));
      return [one.x, y];
    }
    function respectrum(plot) {
      const found = curvesOf(plot);
      Plotly.restyle(plot.box, { x: found.map((one) => one[1]), y: found.map((one) => one[2]) }, found.map((one) => one[0]));
    }

    // Tables ---------------------------------------------------------------------------------------------------------
    function tableOf(parent, table) {
      const box = details(parent, table.title);
      box.className = "table";
      if (table.open) box.open = true;
      const made = element(element(box, "div", "scroll"), "table");
      const head = element(element(made, "thead"), "tr");
      table.head.forEach((text) => element(head, "th", "", text));
      const body = element(made, "tbody");
      table.rows.forEach((row) => { const line = element(body, "tr"); row.forEach((text) => element(line, "td", "", text)); });
      return box;
    }
    function comparison() {
      if (!several) return;
      if (data.comparison.refusal) element(root, "p", "problem", data.comparison.refusal + " They are shown one below the other.");
      comparison.box = element(root, "section", "comparison");
      compare();
    }
    function compare() {
      if (!several || !comparison.box) return;
      comparison.box.replaceChildren();
      data.comparison.tables.filter((table) => !table.layer || table.layer === state.focus).forEach((table) => { tableOf(comparison.box, { ...table, open: true }); });
    }
  }

  global.rankwatchPage = { show };
})(typeof globalThis !== "undefined" ? globalThis : window);
