/** A message with a picture that says how serious it is. */

import { h, icon } from "../dom.js"

const PICTURES = { info: "info", success: "ok", warning: "warning", error: "error" }

/**
 * @param {"info" | "success" | "warning" | "error"} intent
 * @param {string} title - the sentence that matters
 * @param {...(string | Node | null | false)} more - what to know or do besides; texts become paragraphs
 * @returns {HTMLElement} a Fluent message bar
 */
export function notice(intent, title, ...more) {
  const paragraphs = more.filter(Boolean).map((part) => (typeof part === "string" ? h("p", {}, part) : part))
  return h(
    "fluent-message-bar.notice",
    { intent },
    icon(PICTURES[intent], { slot: "icon" }),
    h("div.notice-text", {}, h(paragraphs.length ? "strong" : "span", {}, title), paragraphs),
  )
}
