// From a file, a canvas or a video to the pixels that the model gets, and to what the page shows of it.
'use strict';

// Pixels of the largest picture that is answered as it is; a larger one is made smaller first, since memory runs out.
const MAX_PIXELS = 50e6;
// Sides of what is read from a canvas at a time, in pixels: browsers limit the size of a canvas.
const TILE_WIDTH = 4096;
const TILE_HEIGHT = 1024;
// Longer side of what is shown, in pixels: as in ftlab.
const SHOWN_SIDE = 1024;
// Colors as they are stored, without conversion by a profile: as the model was trained. What a camera says about
// rotation is applied, which is the default everywhere.
const BITMAP_OPTIONS = {colorSpaceConversion: 'none', premultiplyAlpha: 'none'};

const pause = () => new Promise((resolve) => setTimeout(resolve));

const makeCanvas = (width, height) => {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  return canvas;
};

// Returns the key of the text that says why a file is not opened.
const diagnoseFile = async (file) => {
  const bytes = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const start = String.fromCharCode(...bytes);
  if (!start) return 'empty_file';
  if (/^....ftyp(hei|hev|mif1|msf1)/s.test(start)) return 'heic';
  if (/^(\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP|....ftypavi)/s.test(start)) return 'broken';
  return 'no_image';
};

// Returns a bitmap of at most `MAX_PIXELS`, and whether it was made smaller.
const openBitmap = async (source) => {
  let bitmap;
  try {
    bitmap = await createImageBitmap(source, BITMAP_OPTIONS);
  } catch {
    if (!(source instanceof Blob)) throw new PageError('no_camera');
    throw new PageError(await diagnoseFile(source), {name: source.name || getText('pasted')});
  }
  const scale = Math.sqrt(MAX_PIXELS / (bitmap.width * bitmap.height));
  if (scale >= 1) return {bitmap, isSmaller: false};
  const resizeWidth = Math.max(1, Math.floor(bitmap.width * scale));
  const resizeHeight = Math.max(1, Math.floor(bitmap.height * scale));
  try {
    const smaller = await createImageBitmap(bitmap, {...BITMAP_OPTIONS, resizeWidth, resizeHeight, resizeQuality: 'high'});
    return {bitmap: smaller, isSmaller: true};
  } catch {
    throw new PageError('too_large', {name: source.name || getText('pasted')});
  } finally {
    bitmap.close();
  }
};

// Returns the pixels of a bitmap, uint8 RGB; what is transparent is white, as the model was trained.
const readPixels = async (bitmap) => {
  const {width, height} = bitmap;
  const pixels = new Uint8Array(3 * width * height);
  const canvas = makeCanvas(Math.min(width, TILE_WIDTH), Math.min(height, TILE_HEIGHT));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  for (let top = 0; top < height; top += canvas.height) {
    const rows = Math.min(canvas.height, height - top);
    for (let left = 0; left < width; left += canvas.width) {
      const columns = Math.min(canvas.width, width - left);
      context.fillStyle = '#fff';
      context.fillRect(0, 0, columns, rows);
      context.drawImage(bitmap, left, top, columns, rows, 0, 0, columns, rows);
      const {data} = context.getImageData(0, 0, columns, rows);
      let from = 0;
      for (let row = 0; row < rows; row += 1) {
        let to = 3 * ((top + row) * width + left);
        for (let column = 0; column < columns; column += 1, from += 4, to += 3) {
          pixels[to] = data[from];
          pixels[to + 1] = data[from + 1];
          pixels[to + 2] = data[from + 2];
        }
      }
      await pause(); // the page stays usable while a large picture is read
    }
  }
  canvas.width = canvas.height = 0; // some browsers keep the memory of a canvas for long
  return pixels;
};

// Draws what the page shows of a bitmap.
const drawShown = (bitmap, canvas) => {
  const scale = Math.min(1, SHOWN_SIDE / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, roundHalfToEven(bitmap.width * scale));
  canvas.height = Math.max(1, roundHalfToEven(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
};

// Whether this browser hands out the pixels that were drawn: protection against fingerprinting changes them.
const readsTruePixels = () => {
  const canvas = makeCanvas(64, 64);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const drawn = context.createImageData(64, 64);
  drawn.data.forEach((_, index) => (drawn.data[index] = index % 4 === 3 ? 255 : (index * 37) % 251));
  context.putImageData(drawn, 0, 0);
  const read = context.getImageData(0, 0, 64, 64).data;
  return read.every((value, index) => value === drawn.data[index]);
};

const roundHalfToEven = (value) => {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
};

// The part of a picture that the model sees, as left, top, right and bottom in pixels of what is shown of it: as
// `Predictor` computes it.
const findVisibleBox = ([width, height], [shownWidth, shownHeight], preprocessing) => {
  const {resize, side, resize_mode: mode} = preprocessing;
  const short = Math.min(width, height);
  const scale = (length) => (mode === 'squash' ? resize : Math.floor((resize * length) / short));
  const findRange = (length, shownLength) => {
    const resized = scale(length);
    const start = roundHalfToEven((resized - side) / 2);
    const first = Math.min(roundHalfToEven((start / resized) * shownLength), shownLength - 1);
    // Of a picture a pixel wide the model sees less than a pixel: the box keeps at least one.
    return [first, Math.max(first + 1, roundHalfToEven(((start + side) / resized) * shownLength))];
  };
  const [left, right] = findRange(width, shownWidth);
  const [top, bottom] = findRange(height, shownHeight);
  return [left, top, right, bottom];
};
