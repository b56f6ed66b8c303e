const path = document.querySelector("main").dataset.path;
const find = (id) => document.getElementById(id);
const REFRESH_MS = 2000;
const LEAST_WIDTH_PX = 560;
let shownCurves = "";
let roomCode = "";

// The drawing has a height of its own: enlarged until it fills the screen, as long as it stays wide enough to read.
function fillScreen() {
  const frame = find("curves");
  const drawing = frame.firstElementChild;
  if (!drawing) return;
  frame.style.setProperty("--zoom", 1);
  const height = drawing.getBoundingClientRect().height;
  const zoom = Math.min(frame.clientHeight / height, frame.clientWidth / LEAST_WIDTH_PX);
  frame.style.setProperty("--zoom", Math.max(1, zoom).toFixed(3));
}
addEventListener("resize", fillScreen);

async function refresh() {
  try {
    const answer = await fetch(path);
    if (answer.status === 401 || answer.status === 403) {
      location.reload();
      return;
    }
    const shown = await answer.json();
    find("joining").hidden = Boolean(shown.run);
    find("result").hidden = !shown.run;
    if (!shown.run) {
      if (roomCode && roomCode !== shown.room_code) location.reload(); // the lesson has ended: another code
      roomCode = shown.room_code;
      return;
    }
    find("title").textContent = shown.title;
    find("about").textContent = shown.about;
    find("accuracy").textContent = shown.accuracy;
    if (shown.curves !== shownCurves) {
      // Made by the server of numbers and escaped messages.
      find("curves").innerHTML = shownCurves = shown.curves;
      fillScreen();
    }
  } catch (error) {
    console.warn(error); // the server is away: what is shown stays, and the next look comes
  }
}

async function keepFresh() {
  await refresh();
  setTimeout(keepFresh, REFRESH_MS);
}
keepFresh();
