// Runs the model in a thread of its own, so that the page goes on while it computes. `model_client.js` starts it, with
// onnxruntime-web before these lines.
'use strict';

let session;

const startSession = async ({model, binary, module}) => {
  ort.env.wasm.numThreads = 1; // more need headers that static servers do not send
  // As bytes, both files work whatever type the server names: some know neither .mjs nor .wasm.
  ort.env.wasm.wasmBinary = binary;
  const address = URL.createObjectURL(new Blob([module], {type: 'text/javascript'}));
  ort.env.wasm.wasmPaths = {mjs: address};
  try {
    session = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ['wasm']});
  } finally {
    URL.revokeObjectURL(address);
  }
};

// Pixels, uint8 RGB, rows from the top -> probabilities, and a map of each class if the model has any.
const answerPixels = async ({pixels, width, height}) => {
  const outputs = await session.run({image: new ort.Tensor('uint8', pixels, [1, height, width, 3])});
  const maps = outputs.class_maps;
  return {
    probabilities: Array.from(outputs.probabilities.data),
    classMaps: maps ? Float32Array.from(maps.data) : null,
    mapSize: maps ? maps.dims.slice(2).map(Number) : null,
  };
};

self.onmessage = async ({data}) => {
  try {
    postMessage({result: await (data.pixels ? answerPixels(data) : startSession(data))});
  } catch (cause) {
    postMessage({problem: String(cause?.message ?? cause)});
  }
};
