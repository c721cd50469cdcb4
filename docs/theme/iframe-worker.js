// Search in pages that are opened from a folder: browsers start no worker from a file, so its script runs in
// a hidden frame instead. Material's plugin `offline` takes a script of this name; without one it would load
// one from a server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<script src="${url}"></script>`;
      this.scope = new Promise((found) => frame.addEventListener("load", () => found(frame.contentWindow)));
      this.scope.then((scope) => {
        scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      });
      document.body.append(frame);
    }

    postMessage(data) {
      this.scope.then((scope) => scope.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
