/** Signing in to LinkedIn: the pop-up window, and the user's sign-in row that tells what came of it. */

import { safeAddress } from "./dom.js"

const WINDOW = "lima-linkedin"
const FEATURES = "popup,width=520,height=680"
const LOOK_AT_WINDOW_EVERY = 500
const SILENT_AFTER = 60_000

/**
 * One attempt to sign in. `phase` is
 *
 * - "idle": nothing goes on
 * - "preparing": the worker makes a one-time address; the pop-up waits
 * - "preparing-link": the same, but the browser blocked the pop-up
 * - "open": the person is at LinkedIn
 * - "blocked": `address` is to be shown as a link
 * - "closed": the pop-up went away; a sign-in that was finished in it may still be reported
 * - "late", "silent": the address ran out, or none came
 *
 * `isRefused` tells whether the last attempt ended with a no.
 */
export class SignInFlow {
  /**
   * @param {object} api
   * @param {Window} page - whose pop-up it is
   * @param {{changed: () => void, doorbell: () => void}} listener - `changed`: the phase is another; `doorbell`: the
   *   sign-in's last page has called, so its row is worth a look
   */
  constructor(api, page, { changed, doorbell }) {
    this.api = api
    this.page = page
    this.changed = changed
    this.phase = "idle"
    this.address = ""
    this.window = null
    this.isRefused = false
    page.addEventListener("message", (event) => this.isFromSignIn(event) && doorbell())
    page.addEventListener("pagehide", () => this.end("idle"))
  }

  /** @returns {boolean} whether the sign-in row is to be watched */
  get isActive() {
    return !["idle", "late", "silent"].includes(this.phase)
  }

  /**
   * Begin; must be called in the click itself, or browsers block the window
   *
   * @param {object | null} signIn - the row as it is known
   * @param {string} words - what the window says until LinkedIn's page is there
   * @returns {Promise<void>} rejects with a `Trouble` when Dynamics does not take the wish
   */
  async start(signIn, words) {
    if (this.isActive && this.phase !== "closed" && this.phase !== "blocked") {
      this.window?.focus()
      return
    }
    this.window = this.page.open("", WINDOW, FEATURES)
    this.sayInWindow(words)
    this.earlier = signIn?.address ?? ""
    this.address = ""
    this.began = Date.now()
    this.isRefused = false
    this.enter(this.window ? "preparing" : "preparing-link")
    try {
      await this.api.askSignIn(signIn, "CONNECT")
    } catch (trouble) {
      this.end("idle")
      throw trouble
    }
  }

  /**
   * Take note of the row as it is now
   *
   * @param {object | null} signIn
   * @returns {boolean} whether the sign-in has just come to its end, good or bad
   */
  sees(signIn) {
    if (!this.isActive) return false
    if (this.phase.startsWith("preparing")) return this.seesWhilePreparing(signIn)
    const { status, pending, addressExpires } = signIn ?? {}
    if (!pending && status !== "WAITING") return this.over(status)
    if (addressExpires && addressExpires < Date.now()) return this.end("late")
    return false
  }

  seesWhilePreparing(signIn) {
    if (signIn && !signIn.pending) {
      if (signIn.status === "REFUSED") return this.over("REFUSED")
      const address = signIn.address !== this.earlier && safeAddress(signIn.address)
      if (address) return this.goTo(address)
    }
    return Date.now() - this.began > SILENT_AFTER && this.end("silent")
  }

  goTo(address) {
    this.address = address
    if (this.phase === "preparing-link" || !this.window || this.window.closed) {
      this.enter("blocked")
    } else {
      this.window.location.replace(address)
      this.enter("open")
      this.watch = setInterval(() => this.window?.closed && this.lost(), LOOK_AT_WINDOW_EVERY)
    }
    return false
  }

  // A page of LinkedIn may cut the tie between the windows, which looks like a closed one: so the row decides.
  lost() {
    clearInterval(this.watch)
    this.enter("closed")
  }

  over(status) {
    this.isRefused = status === "REFUSED"
    return this.end("idle")
  }

  end(phase) {
    clearInterval(this.watch)
    if (phase !== "idle" || this.phase.startsWith("preparing")) this.window?.close()
    this.window = null
    if (this.phase !== phase) this.enter(phase)
    return true
  }

  enter(phase) {
    this.phase = phase
    this.changed()
  }

  sayInWindow(words) {
    try {
      this.window.document.title = words
      this.window.document.body.textContent = words
    } catch {
      // blocked, or still showing LinkedIn's page of an earlier attempt
    }
  }

  isFromSignIn(event) {
    return this.address !== "" && event.origin === new URL(this.address).origin
  }
}
