// The page of an analysis. Whatever comes from a file is put in as text.
(function (global) {
  "use strict";
  const { element, details, tableOf } = global.rankwatchPage.parts;

  function show(root, data) {
    const asked = new URLSearchParams(location.hash.slice(1)).get("theme");
    let theme = ["light", "dark"].includes(asked) ? asked : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.className = "rankwatch";
    const header = element(root, "header");
    element(header, "strong", "brand", "rankwatch");
    element(header, "span", "title", data.title);
    element(header, "span", "space");
    const button = element(header, "button", "", "light / dark");

    const said = element(root, "section", "verdict healthy");
    element(element(said, "h1"), "span", "", "What follows");
    const list = element(said, "ul");
    data.conclusions.forEach((sentence) => element(list, "li", "", sentence));
    if (data.notes.length) {
      const notes = element(details(said, "What was left out (" + data.notes.length + ")"), "ul");
      data.notes.forEach((note) => element(notes, "li", "", note));
    }
    if (data.decision.rows.length) tableOf(root, data.decision);

    const plots = data.figures.map((figure) => {
      const section = element(root, "section", "figure");
      element(section, "strong", "", figure.title);
      const plot = element(section, "div", "plot");
      element(section, "p", "caption", figure.caption);
      return plot;
    });
    data.tables.forEach((table) => { if (table.rows.length) tableOf(root, table); });

    function paint() {
      document.documentElement.dataset.theme = theme;
      plots.forEach((plot, k) => {
        const figure = data.figures[k].themes[theme];
        global.Plotly.react(plot, figure.data, figure.layout, { responsive: true, displayModeBar: false });
      });
    }
    button.onclick = () => { theme = theme === "dark" ? "light" : "dark"; paint(); };
    paint();
  }

  global.rankwatchPage.show = show;
})(typeof globalThis !== "undefined" ? globalThis : window);
