// The heat over the picture is blended by the browser, so that the slider follows the hand; "Overlay" saves what is seen.
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-blend], a[data-picture]');
  if (!link) return;
  const now = element.querySelector('.now') || element;
  const under = now.querySelector('img.under');
  if (link.hasAttribute('data-picture')) {
    link.href = under.src;
    return;
  }
  const over = now.querySelector('img.over');
  const canvas = document.createElement('canvas');
  canvas.width = under.naturalWidth;
  canvas.height = under.naturalHeight;
  const context = canvas.getContext('2d');
  context.drawImage(under, 0, 0);
  context.globalAlpha = Number(getComputedStyle(over).opacity);
  context.drawImage(over, 0, 0, canvas.width, canvas.height);
  link.href = canvas.toDataURL('image/png');
});
