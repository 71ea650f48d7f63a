"use strict";
// The questions, one by one. What models and file names say reaches the page through textContent alone.
(() => {
  const ROW = 68; // px; the style sheet has the same
  const NAMES = { ta: "true answerable", fu: "false unanswerable", tu: "true unanswerable", fa: "false answerable", unscored: "unscored" };
  const byId = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(byId(id).textContent);

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function said(tag, className, text) {
    const element = make(tag, `said ${className}`);
    element.dir = "auto";
    // Characters that turn the direction of what follows turn nothing, each in an element of its own.
    String(text).split(/([\u202a-\u202e\u2066-\u2069])/).forEach((part, number) => {
      const turn = number % 2 ? make("span", "turn", part) : null;
      if (turn) turn.title = `U+${part.codePointAt(0).toString(16).toUpperCase()}`;
      element.append(turn ?? part);
    });
    return element;
  }

  // --- state

  const list = byId("list"), rows = byId("rows"), detail = byId("detail");
  if (!list) return;
  const search = byId("search"), status = byId("found");
  const filters = Object.fromEntries(["type", "truth", "kind", "audit", "outcome", "decider"].map((name) => [name, byId(`f-${name}`)]));
  const runSelect = byId("f-run");
  const runs = [], pictures = [], places = [], haystacks = [];
  let run = 0;      // the run shown
  let shown = [];   // places of the questions that pass the filters
  let at = -1;      // position in `shown` of the chosen one

  const count = Number(list.dataset.runs);
  const data = () => runs[run] ??= read(`run-${run}`);
  const picture = (image) => (pictures[run] ??= read(`pictures-${run}`))[image];

  // Place of each image's first question, by id.
  function firsts() {
    if (!places[run]) {
      places[run] = new Map();
      const { image, images } = data();
      image.forEach((which, place) => { if (!places[run].has(images[which].id)) places[run].set(images[which].id, place); });
    }
    return places[run];
  }

  function haystack() {
    if (!haystacks[run]) {
      const { text, response, image, images } = data();
      haystacks[run] = text.map((each, place) => `${each}\n${response[place]}\n${images[image[place]].id}`.toLowerCase());
    }
    return haystacks[run];
  }

  // --- filters

  function fill(select, names, all) {
    select.closest("label").hidden = true;
    select.replaceChildren(new Option(all, ""));
    if (!names) return;
    const options = names.map((name, code) => ({ name, code })).filter(({ name }) => name);
    select.replaceChildren(new Option(all, ""), ...options.map(({ name, code }) => new Option(name, code)));
    select.closest("label").hidden = options.length < 2;
  }

  function fillFilters() {
    const { sort, types, truths, kinds, audits, outcomes, deciders } = data();
    fill(filters.type, sort === "pope" ? null : types.map((each) => NAMES[each]), "All types");
    fill(filters.truth, truths, "Right and wrong");
    fill(filters.kind, kinds, "All kinds");
    fill(filters.audit, audits, "Audited or not");
    fill(filters.outcome, outcomes, "All outcomes");
    fill(filters.decider, deciders, "Anyone");
  }

  function apply(keep) {
    const questions = data();
    const words = search.value.trim().toLowerCase();
    const hay = words ? haystack() : null;
    const wanted = Object.entries(filters).filter(([, select]) => select.value !== "")
      .map(([name, select]) => [questions[name], Number(select.value)]);
    shown = [];
    for (let place = 0; place < questions.text.length; place += 1) {
      if (wanted.every(([column, code]) => column[place] === code) && (!hay || hay[place].includes(words))) shown.push(place);
    }
    const total = questions.text.length;
    const few = shown.length === total ? "" : ` of ${total.toLocaleString("en")}`;
    status.textContent = `${shown.length.toLocaleString("en")}${few} questions`;
    rows.style.height = `${shown.length * ROW}px`;
    at = Math.max(shown.indexOf(keep), shown.length ? 0 : -1);
    list.scrollTop = Math.max(0, at * ROW - list.clientHeight / 3);
    draw();
    showDetail();
  }

  const chosen = () => (at < 0 ? -1 : shown[at]);

  // --- the list: only the rows in sight exist

  function thumb(image, title) {
    const url = picture(image);
    if (!url) {
      const none = make("span", "thumb none", title ? data().images[image].why || "no picture" : "–");
      none.title = data().images[image].why;
      return none;
    }
    const element = make("img", "thumb");
    element.alt = title ? `Thumbnail of ${title}` : "";
    element.src = url;
    return element;
  }

  function badge(type) {
    const element = make("span", `badge ${type}`, type === "unscored" ? "open" : type.toUpperCase());
    element.title = NAMES[type];
    return element;
  }

  // Its type; in a labelled run, beside it or in its place, whether it was right.
  function badges(place) {
    const { sort, types, type, truths, truth } = data();
    const right = truths ? truths[truth[place]] : "";
    const element = make("span", "badges");
    if (right) {
      const mark = make("span", `mark ${right}`, sort === "pope" ? right : right === "right" ? "\u2713" : "\u2717");
      mark.title = right;
      element.append(mark);
    }
    if (sort !== "pope" || !right) element.append(badge(types[type[place]]));
    return element;
  }

  function row(position) {
    const questions = data(), place = shown[position];
    const element = make("div", "row");
    element.id = `q-${place}`;
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", String(position === at));
    element.setAttribute("aria-posinset", position + 1);
    element.setAttribute("aria-setsize", shown.length);
    element.dataset.position = position;
    element.style.transform = `translateY(${position * ROW}px)`;
    const words = make("div");
    words.append(said("div", "q", questions.text[place]), said("div", "r", questions.response[place] || "(no response)"));
    element.append(thumb(questions.image[place]), words, badges(place));
    return element;
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    const drawn = [];
    for (let position = first; position < last; position += 1) drawn.push(row(position));
    if (!shown.length) drawn.push(make("p", "empty", data().text.length ? "No question passes the filters." : "This run has no questions."));
    rows.replaceChildren(...drawn);
    if (at >= 0) list.setAttribute("aria-activedescendant", `q-${chosen()}`);
    else list.removeAttribute("aria-activedescendant");
  }

  let waiting = false;
  list.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });

  // --- one question in full

  function facts(pairs) {
    const element = make("dl", "facts");
    for (const [name, value] of pairs) if (value) element.append(said("dt", "", name), said("dd", "", value));
    return element;
  }

  function link(place) {
    const { image, images, number } = data();
    const parts = [images[image[place]].id, number[place]].map(encodeURIComponent);
    if (count > 1) parts.unshift(encodeURIComponent(data().label));
    return `#${parts.join("/")}`;
  }

  function showDetail() {
    const place = chosen();
    if (place < 0) {
      detail.replaceChildren(make("p", "empty", "Nothing is chosen."));
      return;
    }
    const questions = data(), which = questions.image[place], image = questions.images[which];
    const type = questions.types[questions.type[place]];
    const top = make("div", "picture"), about = make("div");
    const name = said("p", "mono", image.id);
    const parts = [image.size, image.missing ? `${image.missing} questions never came` : ""].filter(Boolean);
    about.append(name, make("p", "muted small", parts.join(", ")));
    const address = make("a", "small", "Link to this question");
    address.href = link(place);
    about.append(address);
    top.append(thumb(which, image.id), about);
    const decided = questions.deciders[questions.decider[place]];
    const pope = questions.sort === "pope", right = questions.truths ? questions.truths[questions.truth[place]] : "";
    const audited = questions.audits ? questions.audits[questions.audit[place]] : "";
    const list_ = facts([
      ["Right or wrong", right],
      ["Type", pope ? "" : NAMES[type]],
      [questions.sort === "unsaf" ? "Meant to be" : "In truth", pope ? "" : questions.intended[place] ? "unanswerable" : "answerable"],
      ["Label", audited && `${audited} by ${audited === "confirmed" ? "those who audited it" : "an auditor"}`],
      ["Kind", questions.kinds[questions.kind[place]]],
      ["Decided by", { rule: "the rules", judge: "the judge", panel: "the panel of judges" }[decided] || ""],
      ["Answering call", questions.call[place]],
      ...(questions.facts[place] || []),
    ]);
    const parts_ = [top, said("p", "question", questions.text[place]),
      said("p", `response ${pope ? right : type}`, questions.response[place] || "(no response)"), list_,
      make("h3", "", "All questions about this image"), others(place)];
    if (image.dropped.length) {
      parts_.push(make("h3", "", "Written, and not asked"), facts(image.dropped.map(([text, intended, why]) => [why, `${text} (${intended})`])));
    }
    detail.replaceChildren(...parts_);
    detail.scrollTop = 0;
  }

  function others(place) {
    const questions = data(), element = make("div", "others");
    let first = place;
    while (first > 0 && questions.image[first - 1] === questions.image[place]) first -= 1;
    for (let other = first; questions.image[other] === questions.image[place]; other += 1) {
      const button = make("button");
      button.type = "button";
      button.append(badges(other), said("span", "", questions.text[other]));
      if (other === place) button.setAttribute("aria-current", "true");
      const target = other;
      button.addEventListener("click", () => choosePlace(target));
      element.append(button);
    }
    return element;
  }

  // --- choosing

  function choose(position) {
    if (!shown.length) return;
    at = Math.min(Math.max(position, 0), shown.length - 1);
    const top = at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
    showDetail();
    try { history.replaceState(null, "", link(chosen())); } catch { /* some browsers forbid it for files */ }
  }

  function choosePlace(place) {
    if (!shown.includes(place)) {
      clear();
      apply(place);
    }
    choose(shown.indexOf(place));
  }

  function clear() {
    search.value = "";
    for (const select of Object.values(filters)) select.value = "";
  }

  function follow() {
    let parts;
    try { parts = location.hash.slice(1).split("/").map(decodeURIComponent); } catch { return false; }
    if (parts.length === 3 && count > 1) {
      const labels = [...runSelect.options].map((option) => option.text);
      if (!labels.includes(parts[0])) return false;
      switchRun(labels.indexOf(parts.shift()));
    }
    if (parts.length !== 2 || !firsts().has(parts[0])) return false;
    const first = firsts().get(parts[0]), { image, number } = data();
    let place = first;
    while (image[place] === image[first] && number[place] !== Number(parts[1])) place += 1;
    if (image[place] !== image[first]) return false;
    clear();
    apply(place);
    choose(at);
    byId("questions").scrollIntoView({ behavior: "instant" });
    return true;
  }

  function switchRun(which) {
    run = which;
    runSelect.value = String(which);
    clear();
    fillFilters();
    apply(-1);
  }

  list.addEventListener("click", (event) => {
    const element = event.target.closest(".row");
    if (element) choose(Number(element.dataset.position));
  });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: shown.length - 1 };
    if (event.key in steps) {
      event.preventDefault();
      choose(steps[event.key]);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.closest?.("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const does = {
      j: () => choose(at + 1),
      k: () => choose(at - 1),
      "/": () => search.focus(),
      "?": () => byId("help").showModal(),
    }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  });
  byId("next").addEventListener("click", () => choose(at + 1));
  byId("previous").addEventListener("click", () => choose(at - 1));
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("close").addEventListener("click", () => byId("help").close());
  byId("clear").addEventListener("click", () => { clear(); apply(chosen()); });
  search.addEventListener("input", () => apply(chosen()));
  for (const select of Object.values(filters)) select.addEventListener("change", () => apply(chosen()));
  runSelect.addEventListener("change", () => switchRun(Number(runSelect.value)));
  addEventListener("hashchange", follow);
  addEventListener("resize", draw);

  // What the summary counts is one click away.
  for (const button of document.querySelectorAll("button[data-filter]")) {
    button.addEventListener("click", () => {
      const [name, value] = button.dataset.filter.split("=");
      if (Number(button.dataset.run) !== run) switchRun(Number(button.dataset.run));
      clear();
      const codes = data()[`${name}s`];
      filters[name].value = String(codes.indexOf(value));
      apply(-1);
      byId("questions").scrollIntoView();
      list.focus({ preventScroll: true });
    });
  }

  // The summary is painted first; the questions come when the browser has a moment.
  function begin() {
    fillFilters();
    if (!follow()) apply(-1);
    document.documentElement.dataset.ready = "yes";
  }
  requestAnimationFrame(() => setTimeout(begin, 0));
})();
