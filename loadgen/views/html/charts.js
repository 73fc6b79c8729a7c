/* Draws charts. What is to be drawn was decided in charts.py; this knows axes, colours and sizes.
   A page has an element chart-ID in a figure for each chart that may come; board.show() fills those that did.
   What the pointer does, the keyboard does too: a chart takes the focus as a slider, whose value in words is what stands
   at that place. */
const loadgenCharts = (() => {
  "use strict";
  const root = document.documentElement;
  const PAPER_WIDTH = 660; /* CSS pixels, A4 or Letter less the margins */
  const RAMP = [0, 1, 2, 3, 4, 5, 6]; /* --heat-0 to --heat-6, from next to nothing to everything */

  const tone = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  const onPaper = () => root.classList.contains("on-paper");
  const em = () => parseFloat(getComputedStyle(root).fontSize) / 16; /* how much larger than usual the reader wants text */
  const px = (size) => size * em() + "px ";
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
    const two = (part) => String(part).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    const hours = Math.floor(minutes / 60);  // "150:00" would leave open of what
    return (hours ? hours + ":" + two(minutes % 60) : minutes) + ":" + two(whole % 60);
  }
  const exact = (v) => v.toLocaleString("en-US", { maximumFractionDigits: 1 });
  const percentile = (x) => trim((100 * (1 - 1 / x)).toFixed(x < 100 ? 1 : Math.ceil(Math.log10(x)))) + " %";

  /* Each unit as an axis says it and as the legend does. */
  const AXIS = {
    count: count, rate: (v) => count(v) + "/s", latency: latency,
    percent: (v) => trim(v.toFixed(1)) + " %", cost: (v) => count(v) + " µs", cores: (v) => trim(v.toFixed(2)),
  };
  const VALUE = {
    ...AXIS, count: exact, rate: (v) => exact(v) + "/s", cost: (v) => exact(v) + " µs", cores: (v) => trim(v.toFixed(2)) + " cores",
  };

  const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400];
  const ENDS = [1, 2, 10, 100, 1e3, 1e4, 1e5, 1e6];

  const last = (values) => values[values.length - 1];

  /* Where a time is on the canvas, kept between the axes. */
  const placed = (u) => (t) => Math.min(Math.max(u.valToPos(t, "x", true), u.bbox.left), u.bbox.left + u.bbox.width);

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
    return {
      stroke: tone("soft"), font: px(12) + tone("sans"), gap: 5 * em(),
      grid: { stroke: tone("grid"), width: 1 }, ticks: { show: false }, border: { show: !side, ...thin }, ...extra,
    };
  }

  /* --- time --------------------------------------------------------------------------------------- */

  const xAxis = (chart, space) => axis(0, {
    size: 30 * em(), values: (u, splits) => splits.map((v) => seconds(v, last(chart().x))), incrs: STEPS, space: space * em(),
  });
  /* From the start of the run, unless the reader zoomed in or nothing was measured for long. */
  const xRange = (chart) => (u, low, high) => {
    if (!(high > low)) return [0, high || 1];
    return [low <= chart().x[0] && low < 0.3 * high ? 0 : low, high];
  };
  const SYNC = { sync: { key: "time", scales: ["x", null] } };

  /* Phases as a tint behind hold and churn, the steady part as another; events as dashed lines. */
  const background = (data) => (u) => {
    const ctx = u.ctx, { top, height } = u.bbox, ratio = devicePixelRatio, place = placed(u);
    ctx.save();
    for (const phase of data().phases) {
      const from = place(phase.from), to = place(phase.to);
      if (to <= from) continue;
      if (phase.name === "hold" || phase.name === "churn" || phase.name === "steady") {
        ctx.fillStyle = tone(phase.name === "steady" ? "steady" : "panel");
        ctx.fillRect(from, top, to - from, height);
      }
    }
    ctx.strokeStyle = tone("grey");
    ctx.lineWidth = ratio;
    ctx.setLineDash([2 * ratio, 4 * ratio]);
    for (const t of data().marks) {
      if (t < u.scales.x.min || t > u.scales.x.max || t === 0) continue;
      const x = Math.round(place(t));
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
    ctx.restore();
  };

  /* The names of the phases at the top, on the grid and not below it: a grid line would strike them out. */
  const names = (data) => (u) => {
    const ctx = u.ctx, ratio = devicePixelRatio, place = placed(u);
    ctx.save();
    ctx.font = px(11 * ratio) + tone("sans");
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    ctx.lineJoin = "round";
    ctx.lineWidth = 4 * ratio;
    ctx.strokeStyle = tone("panel");
    ctx.fillStyle = tone("soft");
    for (const phase of data().phases) {
      if (phase.name === "steady") continue;
      const from = place(phase.from), to = place(phase.to);
      if (ctx.measureText(phase.name).width + 10 * ratio >= to - from) continue;
      ctx.strokeText(phase.name, from + 5 * ratio, u.bbox.top + 3 * ratio);
      ctx.fillText(phase.name, from + 5 * ratio, u.bbox.top + 3 * ratio);
    }
    ctx.restore();
  };

  /* A place on the axis in words. */
  const whereabouts = (chart, v) => "at "
    + (chart.percentiles ? percentile(v) : chart.along ? VALUE[chart.along](v) : seconds(v, last(chart.x)));

  /* Of the ends of an axis those that have room; the last one always has. */
  function spaced(u, ends) {
    const kept = [];
    for (const end of ends.reverse()) {
      if (!kept.length || u.valToPos(kept[0], "x") - u.valToPos(end, "x") > 52 * em()) kept.unshift(end);
    }
    return kept;
  }

  /* --- lines -------------------------------------------------------------------------------------- */

  /* Each colour has its own dashes, so that lines are told apart without colours too. A line that is another's companion is
     thinner, with more between the dashes. */
  const DASHES = { blue: [], orange: [12, 4], green: [12, 3, 3, 3], purple: [3, 3], red: [7, 3], grey: [2, 3] };
  const COMPANIONS = { blue: [4, 3], orange: [9, 9], green: [12, 8, 3, 8], purple: [3, 7], red: [7, 8], grey: [2, 5] };
  const dashes = (s) => (s.dash ? COMPANIONS : DASHES)[s.tone];

  /* The mark of a line in the legend: 28 pixels of it. */
  function mark(s) {
    const colour = tone(s.tone), dash = dashes(s);
    if (!dash.length) return colour;
    let at = 0;
    const parts = dash.map((length, i) => {
      const from = at, ink = i % 2 ? "transparent" : colour;
      at += length;
      return ink + " " + from + "px " + at + "px";
    });
    return "repeating-linear-gradient(to right, " + parts.join(", ") + ")";
  }

  const lines = {
    height: (chart, width) => (chart.small ? 190 : width < 500 ? 210 : 250) * Math.max(1, 0.5 + 0.5 * em()),
    end: (chart) => ({ i: chart.x.length - 1, row: 0 }),
    columns: (chart) => [chart.x, ...(chart.stacked ? stacked(chart.y) : chart.y)],
    spot: (u, chart, at) => ({ left: u.valToPos(chart.x[at.i], "x"), top: u.over.clientHeight / 2 }),
    said(chart, at, shown) {
      const values = chart.series.map((s, i) => {
        const v = chart.y[i][at.i];
        return s.label + " " + (!shown(i) ? "hidden" : v == null ? "not measured" : VALUE[chart.unit](v));
      });
      return whereabouts(chart, chart.x[at.i]) + ": " + values.join("; ");
    },
    columns: (chart) => [chart.x, ...(chart.stacked ? stacked(chart.y) : chart.y)],
    options(chart, data, width) {
      const first = chart(), curve = first.percentiles, timed = !curve && !first.along;
      const series = [{
        label: curve ? "percentile" : first.along || "time", value: (u, v) => (v == null ? "" : whereabouts(chart(), v)),
      }];
      first.series.forEach((s, i) => {
        const colour = tone(s.tone), raw = () => chart().y[i], main = first.id === "connections";
        series.push({
          label: s.label, stroke: colour, width: s.dash ? 1.25 : main ? 2.25 : 1.75, dash: dashes(s),
          fill: first.stacked ? colour + "66" : main && s.tone === "blue" ? colour + "18" : undefined,
          points: { show: () => raw().length === 1 }, spanGaps: true,
          paths: first.steps ? uPlot.paths.stepped({ align: -1 }) : undefined,
          value: (u, v, si, at) => (at == null || raw()[at] == null ? "" : VALUE[first.unit](raw()[at])),
        });
      });
      const x = { time: false };
      if (curve) Object.assign(x, { distr: 3, range: (u, low, high) => [low, high] });
      else x.range = xRange(chart);
      const y = first.log
        ? { distr: 3, range: () => chart().range }
        : { range: (u, low, high) => [0, high > 0 ? high * 1.12 : 1] };
      const below = curve
        ? axis(0, {
            size: 30 * em(), values: (u, splits) => splits.map(percentile), filter: (u, splits) => splits,
            splits: (u) => spaced(u, ENDS.filter((v) => v <= last(chart().x) * 1.001)),
          })
        : first.along
          ? axis(0, { size: 30 * em(), values: (u, splits) => splits.map(AXIS[first.along]), space: 60 * em() })
          : xAxis(chart, first.small ? 55 : 70);
      return {
        series: series, scales: { x: x, y: y },
        bands: first.stacked ? first.y.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })) : [],
        axes: [below, axis(1, {
          size: 64 * em(), space: 38 * em(), values: (u, splits) => splits.map((v) => AXIS[first.unit](v)),
          ...(first.log ? { splits: () => decades(chart().range), filter: (u, splits) => splits } : {}),
        })],
        cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false }, ...(timed ? SYNC : {}) },
        legend: { live: true, markers: { width: 0, fill: (u, i) => mark(first.series[i - 1]) } },
        hooks: { drawClear: timed ? [background(data)] : [], drawAxes: timed && !first.small ? [names(data)] : [] },
        padding: [8, curve ? 36 : 18, 0, 0].map((side) => side * em()),
      };
    },
  };

  /* --- heat maps ---------------------------------------------------------------------------------- */

  /* The stops of the ramp as [r, g, b]; style sheets write them as #rrggbb. */
  const stops = () => RAMP.map((i) => [1, 3, 5].map((at) => parseInt(tone("heat-" + i).slice(at, at + 2), 16)));

  function colour(ramp, share) {
    const at = Math.min(Math.max(share, 0), 1) * (ramp.length - 1), i = Math.min(Math.floor(at), ramp.length - 2);
    const mixed = ramp[i].map((v, k) => Math.round(v + (ramp[i + 1][k] - v) * (at - i)));
    return "rgb(" + mixed.join(",") + ")";
  }

  /* Where on the ramp a value is. On a log one the least value is a little above nothing. */
  function share(chart, v) {
    const [low, high] = chart.scale;
    return chart.log_scale ? (high > low ? Math.log(v / low) / Math.log(high / low) : 1) : (v - low) / (high - low || 1);
  }

  /* Rows are drawn from the top if they have names, from the bottom if they are a stretch of an axis. */
  const edge = (chart, row) => (chart.rows ? chart.cells.length - row
    : chart.range[0] * Math.pow(chart.range[1] / chart.range[0], row / chart.cells.length));

  const cells = (chart) => (u) => {
    const ctx = u.ctx, { x, cells: rows } = chart(), place = placed(u), ramp = stops();
    const at = (row) => Math.round(u.valToPos(edge(chart(), row), "y", true));
    const gap = rows.length > 1 && Math.abs(at(1) - at(0)) > 8 * devicePixelRatio ? devicePixelRatio : 0;
    ctx.save();
    for (let row = 0; row < rows.length; row++) {
      const top = Math.min(at(row), at(row + 1)), height = Math.abs(at(row + 1) - at(row)) - gap;
      for (let i = 0; i < rows[row].length; i++) {
        const v = rows[row][i];
        if (!v) continue;
        let end = i; /* a run of equal cells is one rectangle */
        while (rows[row][end + 1] === v) end++;
        const from = Math.round(place(x[i])), to = Math.round(place(x[end + 1]));
        ctx.fillStyle = colour(ramp, share(chart(), v));
        if (to > from) ctx.fillRect(from, top, to - from, height);
        i = end;
      }
    }
    ctx.restore();
  };

  /* The cell at this place of a chart; null beside all of them. */
  function cellAt(chart, u, left, top) {
    const t = u.posToVal(left, "x"), i = chart.x.findIndex((end, at) => at > 0 && t <= end) - 1;
    const v = u.posToVal(top, "y"), n = chart.cells.length;
    const row = Math.floor(chart.rows ? n - v : n * Math.log(v / chart.range[0]) / Math.log(chart.range[1] / chart.range[0]));
    return i < 0 || left < 0 || !(row in chart.cells) ? null : { i: i, row: row };
  }

  /* A cell in words. */
  function said(chart, { i, row }) {
    const unit = AXIS[chart.unit], value = chart.cells[row][i], longest = last(chart.x);
    const where = chart.rows ? chart.rows[row] : unit(edge(chart, row)) + " to " + unit(edge(chart, row + 1));
    return where + ": " + (value == null ? "not measured" : VALUE[chart.cell_unit](value))
      + " from " + seconds(chart.x[i], longest) + " to " + seconds(chart.x[i + 1], longest);
  }

  function shortened(ctx, text, room) {
    if (ctx.measureText(text).width <= room) return text;
    let kept = text.length - 1;
    while (kept > 4 && ctx.measureText("…" + text.slice(-kept)).width > room) kept--;
    return "…" + text.slice(-kept);
  }

  const rowHeight = (n) => (n <= 12 ? 24 : n <= 30 ? 17 : 13) * em();
  const rowFont = (n) => px(n <= 30 ? 12 : 10) + tone("sans");

  const heat = {
    height: (chart) => (chart.rows ? chart.rows.length * rowHeight(chart.rows.length) + 8 + 30 * em() : 250),
    end: (chart) => ({ i: chart.x.length - 2, row: chart.rows ? 0 : chart.cells.length - 1 }),
    columns: (chart) => [chart.x, chart.x.map(() => null)],
    spot: (u, chart, at) => ({
      left: (u.valToPos(chart.x[at.i], "x") + u.valToPos(chart.x[at.i + 1], "x")) / 2,
      top: (u.valToPos(edge(chart, at.row), "y") + u.valToPos(edge(chart, at.row + 1), "y")) / 2,
    }),
    said: said,
    options(chart, data, width) {
      const first = chart(), n = first.cells.length;
      const y = first.rows
        ? { range: () => [0, chart().cells.length] }
        : { distr: 3, range: () => chart().range };
      let size = 64 * em();
      if (first.rows) {
        const ctx = document.createElement("canvas").getContext("2d");
        ctx.font = rowFont(n);
        size = Math.max(size, Math.min(Math.ceil(Math.max(...first.rows.map((name) => ctx.measureText(name).width))) + 8, 0.42 * width));
      }
      const named = (u, splits) => {
        u.ctx.save();
        u.ctx.font = rowFont(n);
        const shown = splits.map((v) => shortened(u.ctx, chart().rows[n - Math.round(v + 0.5)] || "", size - 6));
        u.ctx.restore();
        return shown;
      };
      return {
        series: [{ label: "time" }, { label: "heat" }], scales: { x: { time: false, range: xRange(chart) }, y: y },
        axes: [xAxis(chart, 70), axis(1, {
          size: size, grid: { show: false }, filter: (u, splits) => splits,
          ...(first.rows
            ? { font: rowFont(n), splits: () => first.cells.map((_, i) => i + 0.5), values: named }
            : { splits: () => decades(chart().range), values: (u, splits) => splits.map((v) => AXIS[first.unit](v)) }),
        })],
        cursor: { y: true, points: { show: false }, drag: { x: true, y: false }, ...SYNC },
        legend: { show: false },
        hooks: { draw: [cells(chart)], ready: [legend(chart)], setData: [legend(chart)], setCursor: [readout(chart)] },
        padding: [8, 18, 0, 0].map((side) => side * em()),
      };
    },
  };

  function part(parent, name, kind) {
    let found = parent.querySelector("." + name);
    if (!found) {
      found = document.createElement(kind);
      found.className = name;
      parent.append(found);
    }
    return found;
  }

  /* The scale of the colours, and room for what is below the pointer. */
  const legend = (chart) => (u) => {
    const place = part(u.root, "heat-legend", "div"), [low, high] = chart().scale, unit = VALUE[chart().cell_unit];
    place.style.marginLeft = u.bbox.left / devicePixelRatio + "px";
    part(place, "least", "span").textContent = unit(low);
    part(place, "ramp", "i");
    part(place, "most", "span").textContent = unit(high);
    part(place, "readout", "span");
  };
  /* Nothing where the cursor is in another chart, which has this one's move along. */
  const readout = (chart) => (u) => {
    const here = u.over.matches(":hover") || u.root.parentNode.matches(":focus");
    const at = here ? cellAt(chart(), u, u.cursor.left, u.cursor.top) : null;
    part(part(u.root, "heat-legend", "div"), "readout", "span").textContent = at ? said(chart(), at) : "";
  };

  /* --- the keyboard ------------------------------------------------------------------------------- */

  const PAGE = 10; /* of the points of a chart, that Page Up and Page Down pass over */
  const ZOOM = 2;
  const between = (v, low, high) => Math.min(Math.max(v, low), high);

  /* Where a key leads from a place: {i, row}, or null for a key that leads nowhere. Rows are those of a heat map, of which
     the first is on top if they have names; in a chart of lines up and down are right and left. */
  function led(key, chart, at, [first, end]) {
    const far = Math.max(1, Math.round((end - first) / PAGE)), up = chart.rows ? -1 : 1;
    const along = (by) => ({ ...at, i: between(at.i + by, first, end) });
    const across = (by) => (chart.heat ? { ...at, row: between(at.row + by * up, 0, chart.cells.length - 1) } : along(by));
    switch (key) {
      case "ArrowRight": return along(1);
      case "ArrowLeft": return along(-1);
      case "PageUp": return along(far);
      case "PageDown": return along(-far);
      case "Home": return along(first - at.i);
      case "End": return along(end - at.i);
      case "ArrowUp": return across(1);
      case "ArrowDown": return across(-1);
      default: return null;
    }
  }

  /* The points that are in sight, as the first and the last. */
  function sight({ chart, kind, u }) {
    const { min, max } = u.scales.x, end = kind.end(chart).i;
    const first = chart.x.findIndex((x, i) => i <= end && x >= min);
    let after = end;
    while (after > 0 && chart.x[after] > max) after--;
    return first < 0 || first > after ? [0, end] : [first, after];
  }

  /* Puts the cursor of the chart where the keyboard is, and says what stands there. */
  function point(held, at) {
    const { chart, kind, place, u } = held;
    held.at = at;
    u.setCursor(kind.spot(u, chart, at), true);
    place.setAttribute("aria-valuenow", (100 * at.i / Math.max(kind.end(chart).i, 1)).toFixed(1));
    place.setAttribute("aria-valuetext", kind.said(chart, at, (i) => u.series[i + 1].show));
  }

  /* A newer chart has other points: the nearest one to where the keyboard was. */
  function moved(held, x, row) {
    const { chart, kind } = held, end = kind.end(chart);
    let i = 0;
    while (i < end.i && chart.x[i] < x) i++;
    return { i: i, row: Math.min(row, chart.heat ? chart.cells.length - 1 : 0) };
  }

  /* --- the board ---------------------------------------------------------------------------------- */

  /* Of two charts with the same shape the second is the first with newer numbers. */
  const shape = (chart) => JSON.stringify([
    chart.series, chart.unit, chart.log, chart.stacked, chart.steps, chart.small, chart.along, chart.heat && chart.cells.length,
    chart.rows && Math.max(...chart.rows.map((name) => name.length)),
  ]);

  function board(given) {
    let data = given || { charts: [], phases: [], marks: [] };
    const plots = new Map(); /* chart id -> {chart, shape, u, kind} */

    const widthOf = (place) => (onPaper() ? PAPER_WIDTH : Math.floor(place.clientWidth));

    const timed = (held) => !held.chart.percentiles && !held.chart.along;

    /* All charts over time show the same stretch, as when it was drawn with the pointer. null: everything. */
    function stretch(held, to) {
      for (const other of timed(held) ? [...plots.values()].filter(timed) : [held]) {
        if (to) other.u.setScale("x", to);
        else other.u.setData(other.u.data);
      }
    }

    /* factor: above 1 it shows less. Around the place where the keyboard is. */
    function zoom(held, factor) {
      const { u, chart, kind } = held, { min, max, distr } = u.scales.x, [there, back] = distr === 3 ? [Math.log, Math.exp] : [Number, Number];
      const low = there(min), high = there(max), half = (high - low) / factor / 2;
      const at = held.at ? between(there(chart.x[held.at.i]), low, high) : (low + high) / 2;
      const [from, to] = [at - half, at + half].map((v) => between(back(v), chart.x[0], last(chart.x)));
      const [first, after] = sight(held);
      if (factor > 1 && after - first < 2) return;
      const all = from - chart.x[0] + last(chart.x) - to < 1e-6 * (to - from);
      stretch(held, factor < 1 && all ? null : { min: from, max: to });
    }

    function typed(event, held) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const { u, kind, chart } = held, key = event.key, series = u.series[Number(key)];
      const at = held.at || kind.end(chart), to = led(key, chart, at, sight(held));
      if (to) point(held, to);
      else if (key === "+" || key === "=") zoom(held, ZOOM);
      else if (key === "-") zoom(held, 1 / ZOOM);
      else if (key === "0" || key === "Escape") stretch(held, null);
      else if (!chart.heat && key > "0" && key <= "9" && series) {
        u.setSeries(Number(key), { show: !series.show });
        point(held, at);
      } else return;
      event.preventDefault();
      if (held.at) u.setCursor(kind.spot(u, chart, held.at), true);
    }

    /* Once for each place, whatever is drawn in it later. */
    function wire(place, id) {
      place.setAttribute("role", "slider");
      place.setAttribute("aria-roledescription", "chart");
      place.setAttribute("aria-valuemin", "0"); /* per cent of the way from the first point to the last */
      place.setAttribute("aria-valuemax", "100");
      if (document.getElementById("keys")) place.setAttribute("aria-describedby", "keys");
      place.tabIndex = 0;
      const held = () => plots.get(id);
      place.addEventListener("keydown", (event) => held() && typed(event, held()));
      place.addEventListener("focus", () => {
        if (held() && place.matches(":focus-visible")) point(held(), held().at || held().kind.end(held().chart));
      });
      place.addEventListener("blur", () => held() && held().u.setCursor({ left: -10, top: -10 }, true));
      const tools = document.createElement("span");
      tools.className = "zoom";
      for (const [sign, name, act] of [
        ["+", "zoom in", (one) => zoom(one, ZOOM)], ["−", "zoom out", (one) => zoom(one, 1 / ZOOM)], ["all", "show all", (one) => stretch(one, null)],
      ]) {
        const button = document.createElement("button");
        button.type = "button";
        button.tabIndex = -1; /* the keyboard has + - 0 */
        button.textContent = sign;
        button.setAttribute("aria-label", name);
        button.addEventListener("click", () => held() && act(held()));
        tools.append(button);
      }
      place.before(tools);
    }

    function make(chart, place) {
      const held = { chart: chart, shape: shape(chart), kind: chart.heat ? heat : lines, place: place };
      const width = widthOf(place);
      place.textContent = "";
      held.u = new uPlot({
        ...held.kind.options(() => held.chart, () => data, width), width: width, height: held.kind.height(chart, width),
      }, held.kind.columns(chart), place);
      plots.set(chart.id, held);
      place.setAttribute("aria-valuenow", "100");
      place.setAttribute("aria-valuetext", held.kind.said(chart, held.kind.end(chart), () => true));
    }

    /* A stretch that the reader zoomed into stays; otherwise the axis grows with the run. */
    function update(held, chart) {
      const x = held.u.scales.x, before = held.chart.x;
      const zoomed = x.max < last(before) || x.min > before[0];
      const { min, max } = x, at = held.at;
      held.chart = chart;
      held.u.setData(held.kind.columns(chart), !zoomed);
      if (zoomed) held.u.setScale("x", { min: min, max: max });
      /* The value of the slider stays as it is: a screen reader would say it every second. */
      if (at) held.at = moved(held, before[at.i], at.row);
    }

    function drop(id) {
      const held = plots.get(id);
      if (held) held.u.destroy();
      plots.delete(id);
    }

    function draw(chart) {
      const place = document.getElementById("chart-" + chart.id);
      if (!place) return;
      const figure = place.closest("figure"), caption = figure.querySelector("figcaption");
      figure.hidden = false;
      if (caption.textContent !== chart.title) caption.textContent = chart.title;
      place.setAttribute("aria-label", chart.label);
      if (place.tabIndex < 0) wire(place, chart.id);
      const held = plots.get(chart.id);
      if (held && held.shape === shape(chart)) return update(held, chart);
      drop(chart.id);
      make(chart, place);
    }

    function show(newer) {
      data = newer;
      const there = new Set(data.charts.map((chart) => chart.id));
      for (const figure of document.querySelectorAll("figure.chart")) {
        const id = figure.querySelector(".plot").id.slice("chart-".length);
        if (there.has(id)) continue;
        drop(id);
        figure.hidden = true;
      }
      data.charts.forEach(draw);
    }
    function redraw() {
      for (const id of [...plots.keys()]) drop(id);
      show(data);
    }
    function fit() {
      for (const { chart, kind, place, u } of plots.values()) {
        const width = widthOf(place);
        if (width > 0 && width !== u.width) u.setSize({ width: width, height: kind.height(chart, width) });
      }
    }

    let pending = 0;
    addEventListener("resize", () => {
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(fit);
    });
    for (const media of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) matchMedia(media).addEventListener("change", redraw);
    if (given) show(given);
    return { show: show, redraw: redraw, fit: fit };
  }

  return { board: board };
})();
