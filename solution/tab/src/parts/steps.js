/** Where in the wizard the person is. */

import { h, setAttribute } from "../dom.js"
import { stepOf } from "../view.js"

const NAMES = ["check", "signin", "choose", "send", "done"]

/** The five steps above the screen; the present one is marked for eyes and ears. */
export class Steps {
  /** @param {import("../speech.js").Speech} speech */
  constructor(speech) {
    this.speech = speech
    this.items = NAMES.map((name, index) =>
      h("li.step", {}, h("span.step-mark", { "aria-hidden": "true" }, String(index + 1)), h("span", {}, speech.say(`step.${name}`)), h("span.spoken")),
    )
    this.element = h("nav.steps", { "aria-label": speech.say("steps"), hidden: true }, h("ol", {}, this.items))
  }

  /** @param {object} view - from `viewOf` */
  update(view) {
    this.element.hidden = view.screen === "refused"
    const present = stepOf(view)
    this.items.forEach((item, index) => {
      const isDone = index < present
      item.classList.toggle("is-done", isDone)
      setAttribute(item, "aria-current", index === present && "step")
      item.firstChild.textContent = isDone ? "✓" : String(index + 1)
      item.lastChild.textContent = isDone ? ` (${this.speech.say("step.isDone")})` : ""
    })
  }
}
