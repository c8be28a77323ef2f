// The figures of the page: drawn one after the other, moved by one cursor and one zoom, dressed in the state of the page.
//
// `rankwatchPage.figures(page)` is given what `show` in page.js holds in common: data, state, labels, steps, several, Plotly,
// dark(), pick(layer) and moveTo(step). Everything that comes from a file is put in as text.
(function (global) {
  "use strict";
  const MISSING = 255, DECADES = 6.35, FEW = 8;
  const { bytes, numbers, plain, element, nearest } = global.rankwatchPage.parts;

  function figures(page) {
    const { data, state, labels, steps, several, Plotly } = page;
    const plots = []; // of each figure: what it is made from, its element, and its cursors once it is drawn
    let range = null; // of steps, where somebody has zoomed
    let zooming = false;

    function add(root, one) {
      const section = element(root, "section", "figure " + one.id);
      if (one.caption) element(section, "p", "caption", one.caption);
      const box = element(section, "div", "plot");
      box.style.height = one.figure.layout.height + "px";
      const plot = { ...one, box, traces: one.figure.data, layout: one.figure.layout, drawn: false };
      plot.y = plot.traces.map((trace) => trace.meta && trace.meta.role !== "heatmap" && trace.meta.layer ? numbers(trace.y) : null);
      plots.push(plot);
    }
    // What is seen at once is drawn at once; the rest as soon as there is time.
    function draw(zoom, then) {
      range = zoom;
      drawEach(plots.filter((plot) => plot.first), () => drawEach(plots.filter((plot) => !plot.first), then));
    }
    function drawEach(some, then) {
      if (page.gone) return;
      if (!some.length) return then();
      const plot = some[0];
      delete plot.layout.height;
      dress(plot);
      if (range && plot.steps) axes(plot.layout).forEach((axis) => Object.assign(plot.layout[axis], { range: [...range], autorange: false }));
      Plotly.newPlot(plot.box, plot.traces, plot.layout, { responsive: true, displaylogo: false, displayModeBar: false }).then(() => {
        if (page.gone) return Plotly.purge(plot.box); // taken down while this was drawn
        plot.drawn = true;
        performance.mark("rankwatch " + plot.id);
        plot.box.on("plotly_click", (event) => clicked(plot, event));
        plot.box.on("plotly_relayout", (event) => zoomed(plot, event));
        plot.box.on("plotly_afterplot", () => place(plot));
        place(plot);
        setTimeout(() => drawEach(some.slice(1), then), 0);
      });
    }
    function axes(layout) {
      return Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key));
    }
    function remove() { // plotly listens to the window for each figure that it has drawn
      plots.filter((plot) => plot.drawn).forEach((plot) => Plotly.purge(plot.box));
    }

    // Cursor and zoom ------------------------------------------------------------------------------------------------
    function place(plot) { // its cursor: an element over the picture, since drawing 100 curves anew takes too long
      if (!plot.steps) return;
      const full = plot.box._fullLayout, size = full._size;
      plot.cursors = plot.cursors || axes(full).map((key) => [key, element(plot.box, "i", "cursor")]);
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
      if (meta.layer && meta.layer !== state.focus) page.look(meta.layer);
      page.moveTo(steps[nearest(steps, Number(point.x))]);
    }
    function zoomed(plot, event) { // one zoom for all
      const auto = Object.keys(event).some((key) => /^xaxis\d*\.autorange$/.test(key));
      const from = Object.keys(event).find((key) => /^xaxis\d*\.range\[0\]$/.test(key));
      if (zooming || !plot.steps || (!auto && !from)) return;
      range = auto ? null : [event[from], event[from.replace("[0]", "[1]")]];
      const change = auto ? { "xaxis.autorange": true } : { "xaxis.range": range };
      zooming = true;
      Promise.all(plots.filter((other) => other !== plot && other.drawn && other.steps).map((other) => Plotly.relayout(other.box, change)))
        .finally(() => { zooming = false; });
    }
    function moved() {
      plots.filter((plot) => plot.drawn).forEach((plot) => {
        place(plot);
        if (plot.id === "spectra") respectrum(plot);
      });
    }

    // Layers, scale, theme -------------------------------------------------------------------------------------------
    function repaint(ids) { // all figures, where none are named
      plots.filter((plot) => plot.drawn && (!ids || ids.includes(plot.id))).forEach((plot) => {
        dress(plot);
        Plotly.react(plot.box, plot.traces, plot.layout);
      });
    }
    function visible(trace) {
      if (!trace.meta || !trace.meta.layer) return true;
      const bands = state.layers.size * data.runs.length <= FEW;
      return state.layers.has(trace.meta.layer) && (trace.meta.role !== "band" || bands);
    }
    function usualOf(meta, label) {
      return state.relative && data.references[[meta.run, meta.source, meta.level, label].join("|")];
    }
    function scaled(plot, i) {
      const meta = plot.traces[i].meta, usual = usualOf(meta, meta.layer);
      return usual ? plot.y[i].map((value) => value * 100 / usual) : plot.y[i];
    }
    function dress(plot) { // bring a figure to the state of the page
      const ink = data.text[page.dark() ? "dark" : "light"];
      plot.traces.forEach((trace, i) => {
        trace.visible = visible(trace);
        if (plot.id === "ranks" && plot.y[i]) trace.y = scaled(plot, i);
        const colour = colourOf(trace);
        if (colour) Object.assign(trace, colour);
      });
      Object.assign(plot.layout, { paper_bgcolor: "rgba(0,0,0,0)", font: { ...plot.layout.font, color: ink } });
      (plot.layout.annotations || []).forEach((note) => { note.font.color = ink; });
      plot.layout.hoverlabel = { bgcolor: page.dark() ? "#262c36" : "#ffffff", font: { color: ink }, align: "left" };
      if (plot.id === "spectra") curvesOf(plot).forEach(([i, x, y]) => Object.assign(plot.traces[i], { x, y }));
      if (plot.id === "heatmap") plot.traces.forEach((trace) => heat(plot, trace));
      titles(plot);
    }
    function colourOf(trace) {
      const meta = trace.meta;
      if (several || !meta || meta.role === "untrusted" || (meta.depth === undefined && meta.role !== "now")) return null;
      const colour = data.palette[page.dark() ? "dark" : "light"][meta.role === "now" ? labels.indexOf(state.focus) : meta.depth];
      if (meta.role === "band") return { fillcolor: colour + "29" };
      return { line: { ...trace.line, color: colour }, marker: { ...trace.marker, color: colour } };
    }
    function titles(plot) {
      const unit = state.relative ? "% of its usual rank" : "effective rank";
      (plot.layout.annotations || []).forEach((note) => {
        note.text = note.text.replace(/(^|: )(% of its usual rank|effective rank),/, "$1" + unit + ",");
        if (plot.id === "spectra") note.text = note.text.replace(/^.*(?=, \S+ level$)/, () => plain(state.focus));
      });
      if (plot.id === "ranks") Object.keys(plot.layout).filter((key) => /^yaxis/.test(key)).forEach((key) => { plot.layout[key].ticksuffix = state.relative ? "%" : ""; });
    }
    function heat(plot, trace) {
      trace.rows = trace.rows || { flat: numbers(trace.z), shape: String(trace.z.shape || "").split(",").map(Number) };
      const [count, width] = trace.rows.shape;
      trace.z = [...Array(count).keys()].map((i) => {
        const usual = usualOf(trace.meta, data.runs[trace.meta.run].labels[i]);
        const row = trace.rows.flat.slice(i * width, (i + 1) * width);
        return usual ? row.map((value) => value * 100 / usual) : row;
      });
      const axis = plot.layout[trace.coloraxis];
      axis.most = axis.most || axis.cmax;
      axis.cmax = state.relative ? 110 : axis.most;
    }

    // Spectra at the cursor ------------------------------------------------------------------------------------------
    function curvesOf(plot) {
      return plot.traces.map((trace, i) => {
        const { run, level, role } = trace.meta, of = data.runs[run].spectra, healthy = data.runs[run].healthy;
        if (!of.steps.length || (role === "healthy" && healthy === null)) return [i, [], []];
        const at = nearest(of.steps, role === "healthy" ? healthy : state.step);
        if (role !== "others") return [i, ...spectrum(of, level + "|" + state.focus, at, role === "usual")];
        const xs = [], ys = [];
        labels.filter((label) => label !== state.focus).forEach((label) => {
          const [x, y] = spectrum(of, level + "|" + label, at);
          xs.push(...x, null); ys.push(...y, null);
        });
        return [i, xs, ys];
      });
    }
    function spectrum(of, key, at, usual) {
      const one = of.curves[key];
      if (!one) return [[], []];
      one.bytes = one.bytes || bytes(one.codes);
      one.mean = one.mean || bytes(one.usual);
      const codes = usual ? one.mean : one.bytes.subarray(at * one.points, (at + 1) * one.points);
      const y = Array.from(codes, (code) => (code === MISSING ? null : Math.pow(10, -code * DECADES / 254)));
      one.x = one.x || y.map((_, i) => Math.pow(Math.max(one.width, 1), i / Math.max(one.points - 1, 1)));
      return [one.x, y];
    }
    function respectrum(plot) {
      const found = curvesOf(plot);
      Plotly.restyle(plot.box, { x: found.map((one) => one[1]), y: found.map((one) => one[2]) }, found.map((one) => one[0]));
    }

    return { add, draw, moved, repaint, remove, zoom: () => range };
  }

  global.rankwatchPage.figures = figures;
})(typeof globalThis !== "undefined" ? globalThis : window);
