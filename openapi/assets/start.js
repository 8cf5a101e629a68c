// Starts the viewer on this gateway's own document.

// The viewer's dark style hangs on a class; the system's setting decides, now and when it changes.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

SwaggerUIBundle({
  dom_id: "#page",
  url: "openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  // An API key lives as long as the tab, never in the browser's storage.
  persistAuthorization: false,
  // The viewer would otherwise send the document's address to a validator on the internet.
  validatorUrl: null,
});
