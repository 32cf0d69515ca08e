"use strict";
// Charts are drawn without eval, which the page's security policy forbids: `ast` has Vega interpret its expressions.
const draw = (place) => {
  const spec = JSON.parse(document.getElementById(place.id + "-spec").textContent);
  return vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", actions: false, ast: true }).then(
    () => place.classList.add("drawn"),
    (error) => { place.textContent = "This chart could not be drawn: " + error.message; },
  );
};
// From the top, each in a task of its own, so that the page can be read and scrolled before the last one is there.
(async () => {
  for (const place of document.querySelectorAll(".chart")) {
    await new Promise((resolve) => setTimeout(resolve));
    await draw(place);
  }
})();

const openAll = (isOpen) => {
  for (const part of document.querySelectorAll("main details")) part.open = isOpen;
};
for (const button of document.querySelectorAll("[data-details]")) {
  button.addEventListener("click", () => openAll(button.dataset.details === "open"));
  button.closest("[hidden]")?.removeAttribute("hidden");
}

// Paper cannot be unfolded: everything is open while printing, and afterwards as it was.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("main details:not([open])")];
  openAll(true);
});
addEventListener("afterprint", () => { for (const part of opened) part.open = false; });

// The contents show which part is on screen.
const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) links.get(entry.target.id)?.classList.toggle("current", entry.isIntersecting);
}, { rootMargin: "-20% 0px -70% 0px" });
for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
