/* The page of one run: shows the charts that came with it, and makes itself ready for paper. */
(() => {
  "use strict";
  const root = document.documentElement;
  const board = loadgenCharts.board(JSON.parse(document.getElementById("report-data").textContent));

  /* Paper is white and as wide as a page; folded rows belong on it too. */
  const folded = () => document.querySelectorAll("details");
  addEventListener("beforeprint", () => {
    root.classList.add("on-paper");
    for (const part of folded()) {
      part.dataset.was = part.open ? "open" : "";
      part.open = true;
    }
    board.redraw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("on-paper");
    for (const part of folded()) part.open = part.dataset.was === "open";
    board.redraw();
  });
})();
