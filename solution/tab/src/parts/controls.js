/** Buttons and fields as the tab uses them. */

import { h, setAttribute, setText } from "../dom.js"

/**
 * @param {string} words
 * @param {() => void} onclick
 * @param {Record<string, unknown>} [attributes] - for instance `{appearance: "primary"}`
 * @returns {HTMLElement} a Fluent button
 */
export function button(words, onclick, attributes = {}) {
  // The component's own role is invisible to tools that look at attributes only.
  return h("fluent-button", { role: "button", onclick, ...attributes }, words)
}

/**
 * Show that a button's work goes on: it keeps the focus, but does nothing
 *
 * @param {HTMLElement} element - a Fluent button
 * @param {boolean} isBusy
 * @param {string} words - what it says now
 */
export function setBusy(element, isBusy, words) {
  setText(element, words)
  setAttribute(element, "disabled-focusable", isBusy)
  setAttribute(element, "aria-disabled", isBusy && "true")
}

/**
 * A tick box, switch or radio button with its label
 *
 * @param {HTMLElement} input - with an id
 * @param {...(string | Node)} label
 * @returns {HTMLElement} a Fluent field
 */
export function labelled(input, ...label) {
  input.slot = "input"
  return h("fluent-field", { "label-position": "after" }, h("label", { slot: "label", for: input.id }, ...label), input)
}

/**
 * Say with attributes what Fluent's tick boxes, switches and radio buttons say inwardly only, for tools that look at
 * attributes
 *
 * @param {HTMLElement} input - a Fluent checkbox, switch or radio
 * @param {"checkbox" | "switch" | "radio"} role
 * @param {boolean} isChecked
 */
export function tellState(input, role, isChecked) {
  setAttribute(input, "role", role)
  setAttribute(input, "aria-checked", String(isChecked))
}

/**
 * A button that asks before it does something: it makes way for the question and two answers
 *
 * @param {{words: string, question: () => string, yes: string, no: string, act: () => void, attributes?: object}} wording
 * @returns {HTMLElement} the button with its question
 */
export function askingButton({ words, question, yes, no, act, attributes }) {
  const place = h("div.asking")
  const first = button(words, () => ask(), attributes)
  const close = () => {
    place.replaceChildren(first)
    first.focus()
  }
  const ask = () => {
    const sentence = h("p", { id: `ask-${crypto.randomUUID()}` }, question())
    const go = button(yes, () => (close(), act()), { appearance: "primary" })
    const group = h("div.question", { role: "group", "aria-labelledby": sentence.id }, sentence, h("div.actions", {}, go, button(no, close)))
    group.addEventListener("keydown", (event) => event.key === "Escape" && close())
    place.replaceChildren(group)
    go.focus()
  }
  place.append(first)
  return place
}
