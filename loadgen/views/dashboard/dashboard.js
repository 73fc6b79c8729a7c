/* Puts what the server says into the page; what it says was decided in figures.py, and how a chart looks in charts.js.
   Text only ever becomes text. When the process has ended, the page keeps what it showed last. */
(() => {
  "use strict";
  const at = (id) => document.getElementById(id);
  const board = loadgenCharts.board();
  let seen = null, over = false, paused = false;
  let latest = null, sending = false, failed = ""; /* how to stop: the last frame, a request under way, why one failed */
  let asking = 0; /* the step that the question is about, or was */
  let accepted = 0; /* interrupts, known before a frame says so */
  const missed = {}; /* while paused: the latest of each kind */

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

  /* Those that are there stay, so that a screen reader is told of new ones only. */
  function showNotices(notices) {
    const list = at("notices"), known = (one) => one.at + " " + one.text;
    const there = [...list.children].map((item) => item.dataset.known);
    let gone = 0;
    while (gone < there.length && there.slice(gone).some((text, i) => !notices[i] || text !== known(notices[i]))) gone++;
    for (const item of [...list.children].slice(0, gone)) item.remove();
    for (const one of notices.slice(there.length - gone)) {
      const made = notice(one);
      made.dataset.known = known(one);
      list.append(made);
    }
  }

  /* Not the attribute `disabled`: that would take the focus from the button that was just pressed. */
  const interrupts = (frame) => Math.max(frame.interrupts, accepted);
  const steps = (frame) => (frame.state === "over" ? 2 : interrupts(frame));
  const pressable = () => latest !== null && !over && !sending && steps(latest) < 2;

  function showStop(frame) {
    latest = frame;
    at("stop").setAttribute("aria-disabled", String(!pressable()));
    say("stop", interrupts(frame) ? "Stop at once" : "Stop: close what is open, and report");
    if (at("asked").open && steps(frame) !== asking) at("asked").close(); /* another browser was quicker */
    if (frame.state === "over" || failed) say("stop-said", frame.state === "over" ? "" : failed);
    else if (interrupts(frame)) say("stop-said", interrupts(frame) > 1 ? "stopping at once" : "asked to stop; closing what is open");
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
    pause(false);
    at("pause").hidden = true;
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
    showNotices(frame.notices);
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

  /* Asked first, with the answer that changes nothing in focus: the key that opened the question does not answer it. */
  const QUESTIONS = [
    ["Stop the run?", "All connections are closed and the report is written, as by Ctrl-C. The exit code is 130.", "Stop the run"],
    ["Stop at once?", "What is still open is not closed in order.", "Stop at once"],
  ];
  at("stop").addEventListener("click", () => {
    if (!pressable()) return;
    asking = steps(latest);
    const [title, text, yes] = QUESTIONS[asking];
    say("asked-title", title);
    say("asked-text", text);
    say("asked-yes", yes);
    at("asked").showModal();
  });
  /* Not in `close` of the dialog: that event comes later, when the same question may be open again. */
  at("asked-yes").addEventListener("click", async () => {
    const step = asking;
    sending = true;
    failed = "";
    showStop(latest);
    try {
      const answer = await fetch("stop?step=" + (step ? "now" : "drain"), { method: "POST" });
      if (answer.ok) accepted = step + 1;
      else failed = await answer.text();
    } catch {
      failed = "loadgen does not answer";
    }
    sending = false;
    showStop(latest);
  });

  /* What goes on by itself can be made to stand still, to be read; the run goes on. How to stop it is always up to date. */
  function pause(yes) {
    if (paused === yes) return;
    paused = yes;
    at("pause").setAttribute("aria-pressed", String(yes));
    if (yes) return;
    for (const kind of ["now", "charts"]) {
      if (missed[kind]) take(kind, missed[kind]);
      delete missed[kind];
    }
  }
  at("pause").addEventListener("click", () => pause(!paused));

  function take(kind, data) {
    if (paused) {
      missed[kind] = data;
      if (kind === "charts") return;
      showStop(data);
      if (!data.ending) return;
      delete missed.now;
    }
    if (kind === "charts") board.show(data);
    else show(data);
  }

  const stream = new EventSource("events");
  const linked = (text, bad) => {
    say("link", text);
    at("link").className = bad ? "bad" : "";
  };
  stream.addEventListener("open", () => linked("live", false));
  stream.addEventListener("now", (event) => take("now", JSON.parse(event.data)));
  stream.addEventListener("charts", (event) => take("charts", JSON.parse(event.data)));
  stream.addEventListener("end", () => {
    over = true;
    pause(false);
    if (latest) showStop(latest);
    at("asked").close();
    at("pause").hidden = true;
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
