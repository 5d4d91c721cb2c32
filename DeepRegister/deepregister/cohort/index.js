"use strict";
(() => {
  const body = document.querySelector("#pairs tbody");
  const rows = [...body.rows];
  const heads = [...document.querySelectorAll("#pairs thead th[data-sort]")];
  const find = document.getElementById("find");
  const shown = document.getElementById("shown");
  const buttons = [...document.querySelectorAll("#choose button")];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const value = (row, column, kind) => {
    const cell = row.cells[column];
    if (kind === "text") return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const sort = (head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const column = head.cellIndex;
    const kind = head.dataset.sort;
    const sign = down ? -1 : 1;
    const keyed = rows.map((row) => [value(row, column, kind), row]);
    // A pair without the figure comes last either way.
    keyed.sort(([a], [b]) => (a === null) - (b === null)
      || sign * (kind === "text" ? a.localeCompare(b, undefined, { numeric: true }) : a - b));
    body.append(...keyed.map(([, row]) => row));
  };
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/);
    const chosen = buttons.filter((button) => button.getAttribute("aria-pressed") === "true");
    const verdicts = chosen.map((button) => button.dataset.verdict);
    let count = 0;
    for (const row of rows) {
      const wanted = !verdicts.length || verdicts.includes(row.dataset.verdict);
      row.hidden = !(wanted && words.every((word) => texts.get(row).includes(word)));
      count += !row.hidden;
    }
    shown.textContent = count === rows.length ? "" : `${count} of ${rows.length} shown`;
  };
  heads.forEach((head) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(head); }
    });
  });
  buttons.forEach((button) => button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    filter();
  }));
  find.addEventListener("input", filter);
  document.getElementById("choose").hidden = false;
})();
