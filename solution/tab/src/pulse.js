/** When the tab looks at Dataverse: at most once in two seconds, only while something moves and the page is seen. */

const BETWEEN = 2_000
const AFTER_TROUBLE = 10_000

/** Repeats a look while it is wanted. One look ends before the next begins. */
export class Pulse {
  /**
   * @param {() => Promise<boolean>} look - reads, shows, and tells whether to look again; may reject
   * @param {() => boolean} isSeen - whether anybody can see the page
   */
  constructor(look, isSeen) {
    this.look = look
    this.isSeen = isSeen
    this.timer = null
    this.busy = false
    this.last = -Infinity
  }

  /** Look as soon as the pause since the last look allows; calling again changes nothing. */
  wake() {
    if (this.timer === null && !this.busy) this.schedule(Math.max(0, BETWEEN - (performance.now() - this.last)))
  }

  /** @returns {boolean} whether the pause since the last look is over */
  isRested() {
    return performance.now() - this.last >= BETWEEN
  }

  /** Note that the rows have just been read by other means, so that the next look keeps its distance. */
  justLooked() {
    this.last = performance.now()
    if (this.timer === null) return
    clearTimeout(this.timer)
    this.schedule(BETWEEN)
  }

  schedule(pause) {
    this.timer = setTimeout(() => this.beat(), pause)
  }

  async beat() {
    this.timer = null
    if (!this.isSeen()) return
    this.busy = true
    let again = true
    let pause = BETWEEN
    try {
      again = await this.look()
    } catch {
      pause = AFTER_TROUBLE
    }
    this.busy = false
    // Counted from the answer: on a slow day two requests may not run into each other.
    this.last = performance.now()
    if (again && this.timer === null) this.schedule(pause)
  }
}
