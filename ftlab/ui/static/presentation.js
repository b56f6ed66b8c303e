/* The presentation size and the full screen, see `ui/presentation`. The size is a class of the document, so that a page
   which is loaded again has it at once. */
const root = document.documentElement;
const sizeButton = element.querySelector(".ftlab-size");

const setSize = (isLarge) => {
  // Two columns stay beside each other.
  const zoom = !isLarge || innerWidth < 1100 ? 1 : innerWidth < 1700 ? 1.35 : 1.6;
  root.classList.toggle("ftlab-large", zoom > 1);
  root.style.setProperty("--page-zoom", zoom);
  sizeButton.setAttribute("aria-pressed", isLarge);
};
// In a frame whose browser keeps nothing for other sites, the storage throws: the size then lasts as long as the page.
const remember = (action) => { try { return action(localStorage); } catch { return null; } };
setSize(remember((storage) => storage.getItem("ftlab-size")) === "large");
const isPressed = () => sizeButton.getAttribute("aria-pressed") === "true";
window.addEventListener("resize", () => setSize(isPressed()));
sizeButton.addEventListener("click", () => {
  const isLarge = !isPressed();
  setSize(isLarge);
  remember((storage) => storage.setItem("ftlab-size", isLarge ? "large" : "normal"));
});

// Phones of Apple and frames without this permission have no full screen: no button is shown.
root.classList.toggle("ftlab-no-full-screen", !document.fullscreenEnabled);
document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".ftlab-full-screen");
  if (!button) return;
  if (document.fullscreenElement) document.exitFullscreen();
  else document.getElementById(button.dataset.element).requestFullscreen();
});

// What is on the full screen grows until it fills it.
const MIN_ZOOM = 0.6, MAX_ZOOM = 2.4, FILLED = 0.94;
const fit = () => {
  const shown = document.fullscreenElement;
  if (!shown?.querySelector(".ftlab-full-screen")) return;
  let smallest = MIN_ZOOM, largest = MAX_ZOOM;
  for (let step = 0; step < 6; step++) {
    const zoom = (smallest + largest) / 2;
    shown.style.setProperty("--full-screen-zoom", zoom);
    const bottom = Math.max(...[...shown.children].map((child) => child.getBoundingClientRect().bottom));
    if (bottom <= FILLED * innerHeight) smallest = zoom; else largest = zoom;
  }
  shown.style.setProperty("--full-screen-zoom", smallest);
};
document.addEventListener("fullscreenchange", fit);
window.addEventListener("resize", fit);
