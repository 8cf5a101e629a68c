// Making elements. Text becomes text nodes, whatever it holds; nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button", { class: "quiet", on: { click } }, "Text", child)`. Absent and false attributes are left out. */
export function h(tag, attributes, ...children) {
  return made(document.createElement(tag), attributes, children);
}

/** The same for an element of SVG. */
export function s(tag, attributes, ...children) {
  return made(document.createElementNS(SVG, tag), attributes, children);
}

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "value") {
      element.value = value;
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets a text only if it is another one, so that nothing is drawn or read aloud for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let ids = 0;
/** An id that no other element of the page has. */
export function fresh(name) {
  ids += 1;
  return `${name}-${ids}`;
}
