/** Words, numbers and dates as one user reads them. Pure: the same question gets the same answer. */

const DAY = 24 * 3600 * 1000

/** Speaks one language: looks words up and formats what stands in them. */
export class Speech {
  /**
   * @param {{locale: string, spoken: string, strings: object}} language - from `languageOf`
   */
  constructor({ locale, spoken, strings }) {
    this.strings = strings
    // Latin digits, because the words around them may be English
    const digits = { numberingSystem: "latn" }
    this.numbers = new Intl.NumberFormat(locale, digits)
    this.rates = new Intl.NumberFormat(locale, { ...digits, style: "percent", maximumFractionDigits: 1 })
    this.moments = new Intl.DateTimeFormat(locale, { ...digits, dateStyle: "medium", timeStyle: "short" })
    this.days = new Intl.DateTimeFormat(locale, { ...digits, dateStyle: "medium" })
    this.plurals = new Intl.PluralRules(spoken)
  }

  /**
   * Say something
   *
   * @param {string} key - its name in the strings
   * @param {Record<string, string | number>} [values] - what stands in {braces}; numbers are formatted, and
   *   `count` chooses between singular and plural
   * @returns {string} the words; a name the strings do not have is an error of ours and thrown
   */
  say(key, values = {}) {
    const entry = this.strings[key]
    if (entry === undefined) throw new Error(`The strings have no "${key}".`)
    const words = typeof entry === "string" ? entry : (entry[this.plurals.select(values.count)] ?? entry.other)
    return words.replace(/\{(\w+)\}/g, (_, name) => this.value(values[name]))
  }

  /**
   * @param {number | null} count - a whole number; null gives a dash
   * @returns {string} the number with separators
   */
  number(count) {
    return count === null || count === undefined ? "–" : this.numbers.format(count)
  }

  /**
   * @param {number | null} rate - per cent; null gives a dash
   * @returns {string} the rate with its sign
   */
  percent(rate) {
    return rate === null || rate === undefined ? "–" : this.rates.format(rate / 100)
  }

  /**
   * @param {Date | null} time - a moment; null gives a dash
   * @returns {string} day and time
   */
  moment(time) {
    return time ? this.moments.format(time) : "–"
  }

  /**
   * @param {Date} time - a moment
   * @returns {string} its day
   */
  day(time) {
    return this.days.format(time)
  }

  /**
   * @param {number} milliseconds - how long something took
   * @returns {string} in minutes and seconds, or hours and minutes
   */
  duration(milliseconds) {
    const seconds = Math.max(1, Math.round(milliseconds / 1000))
    if (seconds < 60) return this.say("duration.seconds", { seconds })
    if (seconds < 3600 && seconds % 60 === 0) return this.say("duration.wholeMinutes", { minutes: seconds / 60 })
    if (seconds < 3600) return this.say("duration.minutes", { minutes: Math.floor(seconds / 60), seconds: seconds % 60 })
    return this.say("duration.hours", { hours: Math.floor(seconds / 3600), minutes: Math.floor((seconds % 3600) / 60) })
  }

  value(value) {
    return typeof value === "number" ? this.number(value) : String(value ?? "")
  }
}

/**
 * @param {Date} end - when something ends
 * @param {Date} now - the present moment
 * @returns {number} whole days left; negative once it has passed
 */
export function daysLeft(end, now) {
  return Math.floor((end - now) / DAY)
}
