/** Dynamics tells a user's language as a Windows locale number (LCID); here it becomes what browsers understand. */

import { en } from "./strings/en.js"
import { de } from "./strings/de.js"

/** Locale numbers of the languages Dynamics 365 is offered in */
const LOCALES = {
  1025: "ar-SA", 1026: "bg-BG", 1027: "ca-ES", 1028: "zh-TW", 1029: "cs-CZ", 1030: "da-DK", 1031: "de-DE", 1032: "el-GR",
  1033: "en-US", 1035: "fi-FI", 1036: "fr-FR", 1037: "he-IL", 1038: "hu-HU", 1040: "it-IT", 1041: "ja-JP", 1042: "ko-KR",
  1043: "nl-NL", 1044: "nb-NO", 1045: "pl-PL", 1046: "pt-BR", 1048: "ro-RO", 1049: "ru-RU", 1050: "hr-HR", 1051: "sk-SK",
  1053: "sv-SE", 1054: "th-TH", 1055: "tr-TR", 1057: "id-ID", 1058: "uk-UA", 1060: "sl-SI", 1061: "et-EE", 1062: "lv-LV",
  1063: "lt-LT", 1066: "vi-VN", 1069: "eu-ES", 1081: "hi-IN", 1086: "ms-MY", 1087: "kk-KZ", 1110: "gl-ES", 2052: "zh-CN",
  2057: "en-GB", 2070: "pt-PT", 2074: "sr-Latn-RS", 3076: "zh-HK", 3082: "es-ES", 3098: "sr-Cyrl-RS",
}
const WRITTEN_FROM_THE_RIGHT = new Set(["ar", "he", "fa", "ur"])
const TRANSLATIONS = { en, de }

/**
 * Find how to speak to a user
 *
 * A language without a translation gets the English words, but its own numbers, dates and direction.
 *
 * @param {number} lcid - the user's locale number; an unknown one is taken as English
 * @returns {{locale: string, direction: "ltr" | "rtl", spoken: string, strings: object}} what to format and
 *   write with; `spoken` is the language of the words
 */
export function languageOf(lcid) {
  const locale = LOCALES[lcid] ?? "en-US"
  const language = locale.split("-")[0]
  const spoken = language in TRANSLATIONS ? language : "en"
  const isMirrored = WRITTEN_FROM_THE_RIGHT.has(language)
  return {
    // Dates written from the right do not fit into English sentences.
    locale: isMirrored && spoken === "en" ? "en-GB" : locale,
    direction: isMirrored ? "rtl" : "ltr",
    spoken,
    strings: { ...en, ...TRANSLATIONS[spoken] },
  }
}
