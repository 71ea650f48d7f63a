"use strict";
// Labels by hand: one question at a time, three keys, and one to take the last label back.
(() => {
  const byId = (id) => document.getElementById(id);
  const choices = [...document.querySelectorAll("[data-label]")];
  const KEYS = { 1: "answerable", a: "answerable", 2: "unanswerable", u: "unanswerable", 3: "cannot-say", "?": "cannot-say" };
  const aim = byId("progress").max;
  let asked = null, busy = true;

  function spell(words) {
    const parts = words.split(/([\u202a-\u202e\u2066-\u2069])/).map((part, at) => {
      if (at % 2 === 0) return part;
      const turn = document.createElement("span"); // it turns nothing in an element of its own
      return Object.assign(turn, { className: "turn", textContent: part, title: `U+${part.codePointAt(0).toString(16).toUpperCase()}` });
    });
    byId("question").replaceChildren(...parts);
  }

  function show(found) {
    asked = found;
    const done = found.key === null;
    spell(done ? "Every question of this run has a label." : found.question);
    byId("picture").hidden = done || !found.picture;
    if (!done && found.picture) byId("picture").src = found.picture;
    byId("image-why").hidden = done || !!found.picture;
    byId("image-why").textContent = done ? "" : `The image cannot be shown (${found.why}): nobody can say.`;
    byId("progress").value = Math.min(found.labelled, aim);
    byId("count").textContent = `${found.labelled.toLocaleString("en")} of ${found.questions.toLocaleString("en")} questions `
      + `labelled${found.labelled >= aim ? `; ${aim.toLocaleString("en")} were aimed at, and more narrow the interval` : ""}`;
    byId("problem").textContent = "";
  }

  function enable() {
    for (const each of choices) each.disabled = busy || !may(each.dataset.label);
    byId("undo").disabled = busy || !asked?.can_undo;
    document.documentElement.dataset.ready = busy ? "no" : "yes";
  }

  const may = (label) => asked !== null && asked.key !== null && (asked.picture !== "" || label === "cannot-say");

  async function ask(address, options) {
    busy = true;
    enable();
    try {
      const reply = await fetch(address, options);
      if (reply.ok) show(await reply.json());
      else byId("problem").textContent = `Not kept: ${(await reply.text()).trim()}`;
    } catch {
      byId("problem").textContent = "Nothing answers any more, and the label was not kept; start the command again.";
    }
    busy = false;
    enable();
  }

  function give(label) {
    if (busy || (label === null ? !asked?.can_undo : !may(label))) return;
    const headers = { "Content-Type": "application/json", "X-Unsaf-Async": "label" };
    ask("label", { method: "POST", headers, body: JSON.stringify({ key: asked.key, label }) });
  }

  for (const each of choices) each.addEventListener("click", () => give(each.dataset.label));
  byId("undo").addEventListener("click", () => give(null));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === "Backspace") give(null);
    else if (Object.hasOwn(KEYS, event.key.toLowerCase())) give(KEYS[event.key.toLowerCase()]);
    else return;
    event.preventDefault();
  });

  ask("next");
})();
