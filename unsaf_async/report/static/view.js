"use strict";
// The viewer's own pages: the list of runs, and a run that is going on.
(() => {
  const byId = (id) => document.getElementById(id);

  if (byId("runs")) listOfRuns();

  // --- the list of runs: sorted by a column, searched, and kept up to date while somebody looks

  function listOfRuns() {
    const body = document.querySelector("#runs tbody"), find = byId("find");
    if (!body) return;
    const heads = [...document.querySelectorAll("#runs thead th")];
    const begun = heads.findIndex((head) => head.textContent === "begun");
    const caption = document.querySelector("#runs caption"), compare = byId("compare");
    let by = -1, down = false;

    const key = (row, column) => {
      const cell = row.children[column], text = cell.dataset.key ?? cell.textContent.trim();
      const number = Number(text.replaceAll(",", "").split(" ")[0]);
      return text === "" || text.startsWith("n/a") ? null : Number.isNaN(number) || column === begun ? text : number;
    };

    function order(one, other) {
      const [a, b] = [key(one, by), key(other, by)];
      if (a === null || b === null) return (a === null) - (b === null); // what is not there comes last, either way
      const sign = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -sign : sign;
    }

    function show() {
      const rows = [...body.rows];
      if (by >= 0) body.append(...rows.sort(order));
      const words = find.value.trim().toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
        shown += !row.hidden;
      }
      const chosen = body.querySelectorAll("input:checked").length, all = `${rows.length} run${rows.length === 1 ? "" : "s"}`;
      byId("found").textContent = (shown === rows.length ? all : `${shown} of ${all}`) + (chosen ? `, ${chosen} chosen` : "");
      if (compare) compare.disabled = chosen < 2;
    }

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", className: "sort", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const first = head.classList.contains("num") || column === begun; // what is much, or new, first
        down = by === column ? !down : first;
        by = column;
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        caption.textContent = `Sorted by ${button.textContent}, ${down ? "descending" : "ascending"}`;
        show();
      });
    });
    find.addEventListener("input", show);
    body.addEventListener("change", show);
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); find.focus(); }
    });

    const rowOf = (name) => [...body.rows].find((row) => row.querySelector("input")?.value === name);

    async function keepUp() {
      let going = false;
      if (!document.hidden) {
        try {
          const runs = await (await fetch("/state")).json();
          going = runs.some(({ going }) => going);
          if (runs.some(({ name }) => !rowOf(name)) || runs.length < body.rows.length
            || runs.some(({ cells }) => cells.length !== heads.length - 1)) { location.reload(); return; } // come or gone
          for (const { name, cells } of runs) {
            const row = rowOf(name);
            cells.forEach(({ text, key, href }, at) => { // the first cell holds the focus and the choice
              const cell = row.children[at + 1];
              if (cell.textContent === text) return;
              if (key === null) delete cell.dataset.key;
              else cell.dataset.key = key;
              const link = href && document.createElement("a");
              if (link) Object.assign(link, { href, textContent: text });
              cell.replaceChildren(link || text);
            });
          }
          show();
        } catch { /* the viewer has ended */ }
      }
      setTimeout(keepUp, going ? 2000 : 15000);
    }

    show();
    setTimeout(keepUp, 2000);
    document.documentElement.dataset.ready = "yes";
  }

  const live = byId("main").dataset.live;
  if (!live) return;

  // --- a run that is going on: asked for once a second while somebody looks, and no more once it has ended

  const WAIT_MS = { running: 1000, silent: 10000 };
  let version = "", state = "running", timer = 0;

  const figure = (value) => (value === null ? "n/a" : value.toFixed(3));

  function question({ image, number, text, response, type }) {
    const item = document.createElement("li");
    const badge = document.createElement("span");
    badge.className = `badge ${type}`;
    badge.textContent = type === "unscored" ? "open" : type.toUpperCase();
    const words = document.createElement("div");
    for (const [className, what] of [["q", text], ["r", response || "(no response)"]]) {
      const line = document.createElement("div");
      line.className = `said ${className}`;
      line.dir = "auto";
      what.split(/([\u202a-\u202e\u2066-\u2069])/).forEach((part, at) => {
        const turn = at % 2 ? document.createElement("span") : null; // it turns nothing in an element of its own
        if (turn) Object.assign(turn, { className: "turn", textContent: part, title: `U+${part.codePointAt(0).toString(16).toUpperCase()}` });
        line.append(turn ?? part);
      });
      words.append(line);
    }
    item.title = `${image}, question ${number}`;
    item.append(badge, words);
    return item;
  }

  function show(found) {
    state = found.state;
    byId("unf1").textContent = found.between ? `between ${found.between.map(figure).join(" and ")}` : figure(found.unf1);
    byId("interval").textContent = found.between ? "bounds, as so much is unscored" : found.interval ? `95 % interval ${found.interval.map(figure).join(" to ")}` : "no interval yet";
    const progress = byId("progress");
    progress.value = found.done + found.failed;
    const failed = found.failed ? `, ${found.failed.toLocaleString("en")} failed` : "";
    byId("images").textContent = `${found.done.toLocaleString("en")} of ${progress.max.toLocaleString("en")} images${failed}`;
    const open = found.counts.unscored ? `, ${found.counts.unscored.toLocaleString("en")} responses unscored` : "";
    const batches = found.batches ? `, ${found.batched.toLocaleString("en")} in ${found.batches} batch${found.batches > 1 ? "es" : ""} with the vendor` : "";
    const held = found.batches ? ` and $${found.held_usd.toFixed(4)} held for the batch${found.batches > 1 ? "es" : ""} at worst` : "";
    byId("took").textContent = `${found.calls.toLocaleString("en")} calls, ${found.in_flight.toLocaleString("en")} in flight${batches}, `
      + `$${found.cost_usd.toFixed(4)}${held}, ${Math.round(found.wall_s).toLocaleString("en")} s${open}`;
    for (const type of ["ta", "fu", "tu", "fa"]) byId(`n-${type}`).textContent = found.counts[type].toLocaleString("en");
    byId("state").textContent = { running: "It is running; this page keeps up.", ended: "It has ended.",
      silent: "It says nothing any more; perhaps its process has died. `unsaf-async resume` goes on." }[state];
    byId("latest").replaceChildren(...found.latest.map(question));
    document.documentElement.dataset.version = version = found.version;
  }

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const reply = await fetch(`/live/${live}/state?since=${encodeURIComponent(version)}`);
      if (reply.status === 200) show(await reply.json());
    } catch {
      byId("state").textContent = "The viewer does not answer; start it again.";
      state = "silent";
    }
    if (state in WAIT_MS) timer = setTimeout(look, WAIT_MS[state]);
  }

  document.addEventListener("visibilitychange", look);
  look();
})();
