"use strict";
const at = id => document.getElementById(id);
const say = text => { at("status").textContent = text; };

async function ask(path, content) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error);
  return found;
}

async function upload(file, form) {
  const body = new FormData();
  for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
  body.append("file", file);
  const answer = await fetch("s3", { method: "POST", body });
  if (!answer.ok) {
    const refusal = new DOMParser().parseFromString(await answer.text(), "text/xml");
    throw new Error(`${file.name}: ${refusal.querySelector("Message")?.textContent ?? answer.status}`);
  }
}

async function send(files) {
  if (!files.length) return;
  say(`Uploading ${files.length}`);
  try {
    const forms = await ask("uploads", files.map(({ name, size }) => ({ name, size })));
    const ended = await Promise.allSettled(files.map((file, index) => upload(file, forms[index])));
    say(ended.filter(each => each.reason).map(each => each.reason.message).join(" ") || `Uploaded ${files.length}`);
  } catch (error) {
    say(error.message);
  }
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
  each.addEventListener("change", () => ask("mode", { mode: each.value }).catch(error => say(error.message)));
at("redrive").addEventListener("click", async () => {
  try {
    say(`Started again: ${(await ask("redrive", {})).started}`);
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
