// Follows the page that it is on: the server sends <main> anew whenever it has changed.
"use strict";

const main = document.getElementById("main");
const banner = document.getElementById("banner");
const at = document.getElementById("at");

// What people do on the page is theirs: an open dialog, what is ticked or typed stays as it is.
const THEIRS = new Set(["open", "checked", "value"]);
// The server speaks at least every 15 seconds, so after this many milliseconds of silence it is cut off.
const SILENCE = 40000;
// Milliseconds until a stream is asked for again that the server has refused.
const REFUSED = 5000;

// Makes `old` what `next` is, and leaves alone whatever is the same.
function morph(old, next) {
  if (old.nodeName !== next.nodeName || old.id !== next.id) return old.replaceWith(next);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  if (old.isEqualNode(next)) return;
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !THEIRS.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value && !THEIRS.has(name)) old.setAttribute(name, value);
  }
  const wanted = [...next.childNodes];
  wanted.forEach((child, place) => {
    const known = child.id && [...old.children].find((own) => own.id === child.id);
    const there = old.childNodes[place];
    if (known && known !== there) old.insertBefore(known, there);
    if (old.childNodes[place]) morph(old.childNodes[place], child);
    else old.append(child);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function follow() {
  const stream = new EventSource(location.href);
  let silence;
  const heard = (event) => {
    banner.hidden = true;
    at.textContent = event;
    clearTimeout(silence);
    silence = setTimeout(() => { lost(); stream.close(); follow(); }, SILENCE);
  };
  const lost = () => {
    banner.textContent = `Disconnected, showing the state of ${at.textContent} UTC`;
    banner.hidden = false;
  };
  stream.addEventListener("still", (event) => heard(event.data));
  stream.addEventListener("state", (event) => {
    const end = event.data.indexOf("\n");
    const next = document.createElement("template");
    next.innerHTML = event.data.slice(end + 1);
    const whole = main.cloneNode(false);
    whole.append(next.content);
    morph(main, whole);
    heard(event.data.slice(0, end));
  });
  stream.addEventListener("error", () => {
    lost();
    if (stream.readyState !== EventSource.CLOSED) return; // The browser connects again by itself.
    clearTimeout(silence);
    setTimeout(follow, REFUSED);
  });
  addEventListener("pagehide", () => stream.close(), { once: true });
}

if (main.hasAttribute("data-live")) follow();

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
  });
}

// What an act asks or says before it is done, beside the page that it begins on; without a script it is a page.
addEventListener("click", async (event) => {
  const link = event.target.closest("a.act");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || !window.HTMLDialogElement) return;
  event.preventDefault();
  const answer = await fetch(link.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (!answer || !answer.ok || answer.redirected) return location.assign(link.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const dialog = document.createElement("dialog");
  const heading = document.createElement("h2");
  heading.id = "asked";
  heading.textContent = page.querySelector("#main h1").textContent;
  dialog.setAttribute("aria-labelledby", heading.id);
  page.querySelectorAll("#main h1, #main .crumbs").forEach((element) => element.remove());
  page.querySelectorAll("#main h2").forEach((old) => {
    const lower = document.createElement("h3");
    lower.append(...old.childNodes);
    old.replaceWith(lower);
  });
  dialog.append(heading, ...page.querySelector("#main").childNodes);
  dialog.addEventListener("click", (event) => {
    if (!event.target.closest("a.leave")) return;
    event.preventDefault();
    dialog.close();
  });
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  document.body.append(dialog);
  dialog.showModal();
});
