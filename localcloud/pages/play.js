"use strict";
const at = id => document.getElementById(id);
const say = text => { at("status").textContent = text; };

async function ask(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function send(files) {
  if (!files.length) return;
  const { most, limit } = at("files").dataset;
  if (files.length > most) return say(`${files.length} files are too many: ${most} at once.`);
  const large = files.find(file => file.size > limit);
  if (large) return say(`${large.name} is too large.`);
  say(`Uploading ${files.length}`);
  const ended = await Promise.allSettled(files.map(file => ask(`upload/${encodeURIComponent(file.name)}`, file)));
  say(ended.filter(each => each.reason).map(each => each.reason.message).join(" ") || `Uploaded ${files.length}`);
}

function show({ id, html, said }) {
  const old = at(id);
  const card = new DOMParser().parseFromString(html, "text/html").querySelector("article");
  card.id = id;
  if (!old) {
    at("cards").prepend(card);
  } else {
    const before = [...old.querySelectorAll("summary")];
    const focused = before.indexOf(document.activeElement);
    const after = [...card.querySelectorAll("summary")];
    before.forEach((summary, index) => { if (after[index]) after[index].parentNode.open = summary.parentNode.open; });
    old.replaceWith(card);
    after[focused]?.focus();
  }
  if (said) say(said);
}

at("files").addEventListener("change", event => { send([...event.target.files]); event.target.value = ""; });
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(kind, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") send([...event.dataTransfer.files]);
  });
for (const each of document.getElementsByName("mode"))
  each.addEventListener("change", () => ask("mode", each.value).catch(error => say(error.message)));
at("redrive").addEventListener("click", async () => {
  try {
    say(`Started again: ${(await ask("redrive")).started}`);
  } catch (error) {
    say(error.message);
  }
});
const events = new EventSource("events");
events.addEventListener("message", ({ data }) => {
  const { photo, parked } = JSON.parse(data);
  if (photo) show(photo);
  at("parked").textContent = parked;
  at("redrive").disabled = !parked;
});
events.addEventListener("error", () => say("The playground has ended; start it again with make play."));
