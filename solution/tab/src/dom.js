/** Making page elements. Text always goes in as text, never as HTML. */

/**
 * Make an element
 *
 * @param {string} tag - a tag, perhaps with classes as in "p.note"
 * @param {Record<string, unknown>} [attributes] - attributes; `onclick` and its like become listeners, `true` an empty
 *   attribute, `false` and null none
 * @param {...(Node | string | number | null | false)} children - texts become text nodes
 * @returns {HTMLElement} the element
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".")
  const element = document.createElement(name)
  if (classes.length) element.className = classes.join(" ")
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value)
    else setAttribute(element, key, value)
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value - true gives an empty attribute; false, null and undefined take it away
 */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name)
  else element.setAttribute(name, value === true ? "" : String(value))
}

/**
 * Change a text only when it differs, so that nothing is announced twice
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Put exactly these nodes into an element
 *
 * @param {Element} element
 * @param {...(Node | string | null | false)} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(Boolean))
}

/**
 * An address that may stand behind a link
 *
 * @param {string} address - as it came from a row
 * @returns {string | null} the address; null unless it is HTTPS, or HTTP on this very machine
 */
export function safeAddress(address) {
  try {
    const url = new URL(address)
    const isLocal = ["127.0.0.1", "localhost", "[::1]"].includes(url.hostname)
    return url.protocol === "https:" || (url.protocol === "http:" && isLocal) ? url.href : null
  } catch {
    return null
  }
}

const SHAPES = {
  ok: ["M10 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16Z", "m6.5 10.2 2.4 2.4 4.6-5"],
  warning: ["M10 2.8 18 17H2L10 2.8Z", "M10 8v4M10 14.2v.6"],
  error: ["M10 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16Z", "m7 7 6 6m0-6-6 6"],
  info: ["M10 2a8 8 0 1 1 0 16 8 8 0 0 1 0-16Z", "M10 9v5M10 5.8v.6"],
  lock: ["M5 9h10v8H5z", "M7 9V6.5a3 3 0 0 1 6 0V9"],
  open: ["M9 4H4v12h12v-5", "M12 3h5v5M17 3l-8 8"],
  download: ["M4 16h12", "M10 3v9m-4-3.5 4 4 4-4"],
}

/**
 * A small picture beside words that say the same
 *
 * @param {keyof SHAPES} shape
 * @param {Record<string, unknown>} [attributes]
 * @returns {SVGElement} hidden from screen readers
 */
export function icon(shape, attributes = {}) {
  const NS = "http://www.w3.org/2000/svg"
  const picture = document.createElementNS(NS, "svg")
  for (const [name, value] of Object.entries({ viewBox: "0 0 20 20", class: `icon icon-${shape}`, "aria-hidden": "true", ...attributes }))
    setAttribute(picture, name, value)
  for (const d of SHAPES[shape]) {
    const path = document.createElementNS(NS, "path")
    path.setAttribute("d", d)
    picture.append(path)
  }
  return picture
}
