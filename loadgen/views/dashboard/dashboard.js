/* Puts what the server says into the page; what it says was decided in figures.py, and how a chart looks in charts.js.
   Text only ever becomes text. When the process has ended, the page keeps what it showed last. */
(() => {
  "use strict";
  const at = (id) => document.getElementById(id);
  const board = loadgenCharts.board();
  let seen = null, over = false;

  function say(id, text) {
    if (at(id).textContent !== text) at(id).textContent = text;
  }
  function make(tag, text, name) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  /* Figures keep their elements, so that nothing flickers and a screen reader stays where it is. */
  function showFigure(figure) {
    let place = at("figure-" + figure.id);
    if (!place) {
      place = make("div");
      place.id = "figure-" + figure.id;
      place.append(make("dt", figure.name), make("dd", "", "value"), make("dd", "", "note"));
      at("figures").append(place);
    }
    place.className = figure.bad ? "bad" : "";
    const [name, value, note] = place.children;
    for (const [part, text] of [[name, figure.name], [value, figure.value], [note, figure.note]]) {
      if (part.textContent !== text) part.textContent = text;
    }
  }
  function showRows(id, rows, cells) {
    at(id).hidden = rows.length === 0;
    at(id + "-rows").replaceChildren(...rows.map((row) => {
      const made = make("tr");
      made.append(...cells(row));
      return made;
    }));
  }
  const head = (text, name) => Object.assign(make("th", text, name), { scope: "row" });

  function occupancy(row) {
    const cell = make("td"), meter = make("meter");
    meter.value = row.share;
    meter.high = 0.9;
    meter.setAttribute("aria-hidden", "true");
    cell.append(meter, make("span", row.said, row.full ? "bad" : ""));
    return cell;
  }
  function notice(one) {
    const made = make("li");
    made.append(make("span", one.at, "at"), one.text);
    return made;
  }

  function showStop(frame) {
    const button = at("stop");
    button.disabled = frame.state === "over" || frame.interrupts > 1;
    say("stop", frame.interrupts ? "Stop at once" : "Stop: close what is open, and report");
    if (frame.state === "over") say("stop-said", "");
    else if (frame.interrupts) say("stop-said", frame.interrupts > 1 ? "stopping at once" : "asked to stop; closing what is open");
  }

  function showEnding(ending) {
    over = true;
    at("ending").hidden = false;
    say("ending-text", ending.text);
    say("ending-code", String(ending.code));
    say("ending-report", ending.report);
    at("ending-where").hidden = !ending.report;
    say("phase", "over");
    say("left", "");
  }

  function show(frame) {
    if (seen && seen.run !== frame.run) {
      at("figures").replaceChildren();
      showRuns();
    }
    seen = frame;
    document.title = (frame.scenario ? frame.scenario + ", " : "") + (frame.phase || frame.state) + " – loadgen";
    say("scenario", frame.scenario);
    say("place", frame.place);
    say("phase", frame.phase || frame.state);
    say("time", frame.time);
    say("left", frame.left);
    at("share").hidden = frame.share === null;
    if (frame.share !== null) at("share").value = frame.share;
    frame.figures.forEach(showFigure);
    showRows("errors", frame.errors, (row) => [head(row.what), make("td", row.outcome), make("td", row.count, "num")]);
    showRows("agents", frame.agents, (row) => [
      head(row.agent, "id"), make("td", row.state, row.bad ? "bad" : ""), make("td", row.open, "num"),
      make("td", row.established, "num"), make("td", row.failed, "num"),
    ]);
    showRows("sources", frame.sources, (row) => [
      head(row.source, "id"), occupancy(row), make("td", row.open, "num"), make("td", row.capacity, "num"),
    ]);
    at("notices").replaceChildren(...frame.notices.map(notice));
    showStop(frame);
    if (frame.ending) showEnding(frame.ending);
  }

  /* An address is the server's own or none: it never comes out of a name. */
  function link(run) {
    const made = make("a", run.began);
    made.href = run.href;
    return made;
  }
  async function showRuns() {
    try {
      const runs = await (await fetch("runs")).json();
      at("runs-said").hidden = runs.length > 0;
      at("runs-table").hidden = runs.length === 0;
      at("runs-rows").replaceChildren(...runs.map((run) => {
        const made = make("tr"), began = make("th");
        began.scope = "row";
        began.append(run.href ? link(run) : run.began);
        made.append(began, make("td", run.scenario), make("td", run.said));
        return made;
      }));
    } catch {
      if (!over) say("runs-said", "The list cannot be read.");
    }
  }

  at("stop").addEventListener("click", async () => {
    const step = seen && seen.interrupts ? "now" : "drain";
    at("stop").disabled = true;
    try {
      const answer = await fetch("stop?step=" + step, { method: "POST" });
      if (!answer.ok) say("stop-said", await answer.text());
    } catch {
      say("stop-said", "loadgen does not answer");
    }
    if (seen) at("stop").disabled = seen.state === "over" || seen.interrupts > 1;
  });

  const stream = new EventSource("events");
  const linked = (text, bad) => {
    say("link", text);
    at("link").className = bad ? "bad" : "";
  };
  stream.addEventListener("open", () => linked("live", false));
  stream.addEventListener("now", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("charts", (event) => board.show(JSON.parse(event.data)));
  stream.addEventListener("end", () => {
    over = true;
    stream.close();
    linked("loadgen has ended; this page shows the last that it said", false);
    for (const dead of document.querySelectorAll("#runs-rows a")) dead.removeAttribute("href");
  });
  stream.addEventListener("error", () => {
    if (over) stream.close();
    else linked(stream.readyState === EventSource.CLOSED ? "loadgen has ended or sends this page away; reload to try again" : "no connection; trying again", true);
  });
  showRuns();
})();
