// The drawing of heat over an image, for the app's page and for exported ones. As `heatmap.py` draws it: a class activation
// map enlarged bilinearly into the part of the image that the network saw, transparent where there is no evidence, under
// a gray veil outside.

// Color map "inferno" of Matplotlib, as OpenCV has it: red, green and blue of each of 256 levels.
const INFERNO = Uint8Array.from(
  (
    '00000401000501010601010802010a02020c02020e03021004031204031405041706041907051b08051d09061f0a0722' +
    '0b07240c08260d08290e092b10092d110a30120a32140b34150b37160b39180c3c190c3e1b0c411c0c431e0c451f0c48' +
    '210c4a230c4c240c4f260c51280b53290b552b0b572d0b592f0a5b310a5c320a5e340a5f3609613809623909633b0964' +
    '3d09653e0966400a67420a68440a68450a69470b6a490b6a4a0c6b4c0c6b4d0d6c4f0d6c510e6c520e6d540f6d550f6d' +
    '57106e59106e5a116e5c126e5d126e5f136e61136e62146e64156e65156e67166e69166e6a176e6c186e6d186e6f196e' +
    '71196e721a6e741a6e751b6e771c6d781c6d7a1d6d7c1d6d7d1e6d7f1e6c801f6c82206c84206b85216b87216b88226a' +
    '8a226a8c23698d23698f24699025689225689326679526679727669827669a28659b29649d29649f2a63a02a63a22b62' +
    'a32c61a52c60a62d60a82e5fa92e5eab2f5ead305dae305cb0315bb1325ab3325ab43359b63458b73557b93556ba3655' +
    'bc3754bd3853bf3952c03a51c13a50c33b4fc43c4ec63d4dc73e4cc83f4bca404acb4149cc4248ce4347cf4446d04545' +
    'd24644d34743d44842d54a41d74b3fd84c3ed94d3dda4e3cdb503bdd513ade5238df5337e05536e15635e25734e35933' +
    'e45a31e55c30e65d2fe75e2ee8602de9612bea632aeb6429eb6628ec6726ed6925ee6a24ef6c23ef6e21f06f20f1711f' +
    'f1731df2741cf3761bf37819f47918f57b17f57d15f67e14f68013f78212f78410f8850ff8870ef8890cf98b0bf98c0a' +
    'f98e09fa9008fa9207fa9407fb9606fb9706fb9906fb9b06fb9d07fc9f07fca108fca309fca50afca60cfca80dfcaa0f' +
    'fcac11fcae12fcb014fcb216fcb418fbb61afbb81dfbba1ffbbc21fbbe23fac026fac228fac42afac62df9c72ff9c932' +
    'f9cb35f8cd37f8cf3af7d13df7d340f6d543f6d746f5d949f5db4cf4dd4ff4df53f4e156f3e35af3e55df2e661f2e865' +
    'f2ea69f1ec6df1ed71f1ef75f1f179f2f27df2f482f3f586f3f68af4f88ef5f992f6fa96f8fb9af9fc9dfafda1fcffa4'
  ).match(/../g),
  (code) => parseInt(code, 16),
);
const VEIL = [96, 96, 104, 110];

// For each pixel of a length: the two map values that it lies between, and the share of the second.
const findNeighbors = (pixelCount, valueCount) =>
  Array.from({length: pixelCount}, (_, pixel) => {
    const place = Math.max(0, Math.min(valueCount - 1, ((pixel + 0.5) * valueCount) / pixelCount - 0.5));
    const first = Math.floor(place);
    return [first, Math.min(first + 1, valueCount - 1), place - first];
  });

// Draws a map, `rows` x `columns` values in [0, 1], into the `box` (left, top, right, bottom in pixels) of the canvas
// `target`; an opaque drawing has the color of no evidence where the network did not look.
const paintHeat = (target, map, [rows, columns], [left, top, right, bottom], isOpaque) => {
  const context = target.getContext('2d');
  const layer = context.createImageData(target.width, target.height);
  const [red, green, blue, alpha] = isOpaque ? [...INFERNO.slice(0, 3), 255] : VEIL;
  for (let offset = 0; offset < layer.data.length; offset += 4) {
    layer.data[offset] = red;
    layer.data[offset + 1] = green;
    layer.data[offset + 2] = blue;
    layer.data[offset + 3] = alpha;
  }
  const across = findNeighbors(right - left, columns);
  findNeighbors(bottom - top, rows).forEach(([upper, lower, lowerShare], y) => {
    let offset = 4 * ((top + y) * target.width + left);
    for (const [before, after, afterShare] of across) {
      const above = map[upper * columns + before] * (1 - afterShare) + map[upper * columns + after] * afterShare;
      const below = map[lower * columns + before] * (1 - afterShare) + map[lower * columns + after] * afterShare;
      const value = above * (1 - lowerShare) + below * lowerShare;
      const level = 3 * Math.round(255 * value);
      layer.data[offset] = INFERNO[level];
      layer.data[offset + 1] = INFERNO[level + 1];
      layer.data[offset + 2] = INFERNO[level + 2];
      // The square root keeps weak evidence visible.
      layer.data[offset + 3] = isOpaque ? 255 : Math.round(255 * Math.sqrt(value));
      offset += 4;
    }
  });
  context.putImageData(layer, 0, 0);
};
