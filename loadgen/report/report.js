/* Draws the charts. What is to be drawn was decided in charts.py; this knows axes, colours and sizes. */
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const PAPER_WIDTH = 660; /* CSS pixels, A4 or Letter less the margins */
  let plots = [], printing = false;

  const tone = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

  function count(v) {
    const a = Math.abs(v);
    if (a >= 1e6) return trim((v / 1e6).toFixed(2)) + " M";
    if (a >= 1e3) return trim((v / 1e3).toFixed(1)) + " k";
    return trim(v.toFixed(a < 10 ? 2 : 0));
  }
  function latency(us) {
    if (us >= 999500) return trim((us / 1e6).toPrecision(3)) + " s";
    if (us >= 999.5) return trim((us / 1e3).toPrecision(3)) + " ms";
    return trim(us.toPrecision(3)) + " µs";
  }
  function seconds(s, longest) {
    if (longest < 120) return trim(s.toFixed(2)) + " s";
    const whole = Math.round(s);
    return Math.floor(whole / 60) + ":" + String(whole % 60).padStart(2, "0");
  }
  const exact = (v) => v.toLocaleString("en-US", { maximumFractionDigits: 1 });
  const percentile = (x) => trim((100 * (1 - 1 / x)).toFixed(x < 100 ? 1 : Math.ceil(Math.log10(x)))) + " %";

  const AXIS = { count: count, rate: (v) => count(v) + "/s", latency: latency };
  const VALUE = { count: exact, rate: (v) => exact(v) + "/s", latency: latency };

  const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];

  /* Where a time is on the canvas, kept between the axes. */
  const placed = (u) => (t) => Math.min(Math.max(u.valToPos(t, "x", true), u.bbox.left), u.bbox.left + u.bbox.width);

  /* Phases as a tint behind hold and churn; events as dashed lines. */
  function background() {
    return (u) => {
      const ctx = u.ctx, { top, height } = u.bbox, ratio = devicePixelRatio, place = placed(u);
      ctx.save();
      for (const phase of data.phases) {
        const from = place(phase.from), to = place(phase.to);
        if (to <= from) continue;
        if (phase.name === "hold" || phase.name === "churn") {
          ctx.fillStyle = tone("panel");
          ctx.fillRect(from, top, to - from, height);
        }
      }
      ctx.strokeStyle = tone("grey");
      ctx.lineWidth = ratio;
      ctx.setLineDash([2 * ratio, 4 * ratio]);
      for (const t of data.marks) {
        if (t < u.scales.x.min || t > u.scales.x.max || t === 0) continue;
        const x = Math.round(place(t));
        ctx.beginPath();
        ctx.moveTo(x, top);
        ctx.lineTo(x, top + height);
        ctx.stroke();
      }
      ctx.restore();
    };
  }

  /* The names of the phases at the top, on the grid and not below it: a grid line would strike them out. */
  function names() {
    return (u) => {
      const ctx = u.ctx, ratio = devicePixelRatio, place = placed(u);
      ctx.save();
      ctx.font = 11 * ratio + "px " + tone("sans");
      ctx.textAlign = "left";
      ctx.textBaseline = "top";
      ctx.lineJoin = "round";
      ctx.lineWidth = 4 * ratio;
      ctx.strokeStyle = tone("panel");
      ctx.fillStyle = tone("soft");
      for (const phase of data.phases) {
        const from = place(phase.from), to = place(phase.to);
        if (ctx.measureText(phase.name).width + 10 * ratio >= to - from) continue;
        ctx.strokeText(phase.name, from + 5 * ratio, u.bbox.top + 3 * ratio);
        ctx.fillText(phase.name, from + 5 * ratio, u.bbox.top + 3 * ratio);
      }
      ctx.restore();
    };
  }

  /* A stack is drawn from its outline inwards: column i becomes the sum of columns 0 to i. */
  function stacked(columns) {
    const sums = new Array(columns[0].length).fill(0);
    return columns.map((column) => column.map((v, i) => (sums[i] += v || 0)));
  }

  function decades([low, high]) {
    const found = [];
    for (let v = low; v <= high * 1.001; v *= 10) found.push(v);
    return found;
  }

  function axis(side, extra) {
    const thin = { stroke: tone("rule"), width: 1 };
    return Object.assign({
      stroke: tone("soft"), font: "12px " + tone("sans"),
      grid: { stroke: tone("grid"), width: 1 }, ticks: { show: false }, border: { show: !side, ...thin },
    }, extra);
  }

  function draw(chart) {
    const place = document.getElementById("chart-" + chart.id);
    if (!place) return;
    place.parentElement.hidden = false;
    place.textContent = "";
    const curve = chart.percentiles, raw = chart.y;
    const shown = chart.stacked ? stacked(raw) : raw;
    const ends = [1, 2, 10, 100, 1e3, 1e4, 1e5, 1e6];
    const xLast = chart.x[chart.x.length - 1];
    const width = () => (printing ? PAPER_WIDTH : Math.floor(place.clientWidth));
    const height = () => (chart.small ? 190 : width() < 500 ? 210 : 250);

    const series = [{
      label: curve ? "percentile" : "time",
      value: (u, v) => (v == null ? "" : "at " + (curve ? percentile(v) : seconds(v, xLast))),
    }];
    chart.series.forEach((s, i) => {
      const colour = tone(s.tone);
      series.push({
        label: s.label, stroke: colour, width: s.dash ? 1.25 : chart.id === "connections" ? 2.25 : 1.75,
        dash: s.dash ? (s.tone === "orange" ? [9, 9] : [4, 3]) : undefined,
        fill: chart.stacked ? colour + "66" : chart.id === "connections" && s.tone === "blue" ? colour + "18" : undefined,
        points: { show: raw[i].length === 1 }, spanGaps: true,
        paths: chart.steps ? uPlot.paths.stepped({ align: -1 }) : undefined,
        value: (u, v, si, at) => (at == null || raw[si - 1][at] == null ? "" : VALUE[chart.unit](raw[si - 1][at])),
      });
    });
    const y = chart.log
      ? { distr: 3, range: () => chart.range }
      : { range: (u, low, high) => [0, high > 0 ? high * 1.12 : 1] };
    const x = { time: false };
    if (curve) Object.assign(x, { distr: 3, range: (u, low, high) => [low, high] });
    else x.range = (u, low, high) => (high > low ? [low < 0.02 * xLast ? 0 : low, high] : [0, high || 1]);

    const u = new uPlot({
      width: width(), height: height(), series: series, scales: { x: x, y: y },
      bands: chart.stacked ? raw.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })) : [],
      axes: [
        axis(0, curve
          ? {
              size: 30,
              splits: () => ends.filter((v) => v <= xLast * 1.001 && (v !== 2 || width() > 600)), filter: (u, splits) => splits,
              values: (u, splits) => splits.map(percentile),
            }
          : { size: 30, values: (u, splits) => splits.map((v) => seconds(v, xLast)), incrs: STEPS, space: chart.small ? 55 : 70 }),
        axis(1, {
          size: 64, space: 38, values: (u, splits) => splits.map((v) => AXIS[chart.unit](v)),
          ...(chart.log ? { splits: () => decades(chart.range), filter: (u, splits) => splits } : {}),
        }),
      ],
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false }, ...(curve ? {} : { sync: { key: "time", scales: ["x", null] } }) },
      legend: { live: true, markers: { width: 0, fill: (u, i) => tone(chart.series[i - 1].tone) } },
      hooks: { drawClear: curve ? [] : [background()], drawAxes: curve || chart.small ? [] : [names()] },
      padding: [8, curve ? 36 : 18, 0, 0],
    }, [chart.x, ...shown], place);
    plots.push({ u: u, width: width, height: height });
  }

  function drawAll() {
    for (const plot of plots) plot.u.destroy();
    plots = [];
    data.charts.forEach(draw);
  }
  function fit() {
    for (const plot of plots) {
      const width = plot.width();
      if (width > 0 && width !== plot.u.width) plot.u.setSize({ width: width, height: plot.height() });
    }
  }

  drawAll();
  let pending = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(fit);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

  /* Paper is white and as wide as a page; folded rows belong on it too. */
  const folded = () => document.querySelectorAll("details");
  addEventListener("beforeprint", () => {
    root.classList.add("on-paper");
    printing = true;
    for (const part of folded()) {
      part.dataset.was = part.open ? "open" : "";
      part.open = true;
    }
    drawAll();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("on-paper");
    printing = false;
    for (const part of folded()) part.open = part.dataset.was === "open";
    drawAll();
  });
})();
