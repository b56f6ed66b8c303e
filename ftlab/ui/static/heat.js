// The heat over an image is drawn by the browser, from the class activation map that came with the answer: a few hundred
// bytes. `paintHeat` is in `ftlab/inference/heat_drawing.js`.

// Draws the heat of `canvas` into `target`.
const drawHeat = (canvas, target, isOpaque) => {
  const grid = canvas.dataset.grid.split(' ').map(Number);
  const box = canvas.dataset.box.split(' ').map(Number);
  const bytes = Uint8Array.from(atob(canvas.dataset.map), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const map = Float32Array.from({length: grid[0] * grid[1]}, (_, index) => view.getUint16(2 * index, true) / 65535);
  paintHeat(target, map, grid, box, isOpaque);
};

const drawAll = () => {
  element.querySelectorAll('canvas.over:not([data-drawn])').forEach((canvas) => {
    drawHeat(canvas, canvas, false);
    canvas.dataset.drawn = '';
  });
};
new MutationObserver(drawAll).observe(element, {childList: true, subtree: true});
drawAll();

// The links to download get their addresses when they are pressed.
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-blend], a[data-heat], a[data-picture]');
  if (!link) return;
  const now = element.querySelector('.now') || element;
  const under = now.querySelector('img.under');
  if (link.hasAttribute('data-picture')) {
    link.href = under.src;
    return;
  }
  const over = now.querySelector('canvas.over');
  const canvas = document.createElement('canvas');
  canvas.width = over.width;
  canvas.height = over.height;
  if (link.hasAttribute('data-heat')) {
    drawHeat(over, canvas, true);
    link.href = canvas.toDataURL('image/jpeg', 0.92);
    return;
  }
  const context = canvas.getContext('2d');
  context.drawImage(under, 0, 0);
  context.globalAlpha = Number(getComputedStyle(over).opacity);
  context.drawImage(over, 0, 0);
  link.href = canvas.toDataURL('image/png');
});
