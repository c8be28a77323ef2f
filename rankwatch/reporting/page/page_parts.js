// What the parts of the page share: bytes, elements, steps and tables. Whatever comes from a file is put in as text.
(function (global) {
  "use strict";

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
  function details(parent, title) {
    const made = element(parent, "details");
    element(made, "summary", "", title);
    return made;
  }
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
  function nearest(steps, step) { // the place of the newest step up to this one, or of the first
    let low = 0, high = steps.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (steps[middle] <= step) low = middle; else high = middle - 1;
    }
    return low;
  }

  global.rankwatchPage = { parts: { bytes, numbers, plain, element, details, tableOf, nearest } };
})(typeof globalThis !== "undefined" ? globalThis : window);
