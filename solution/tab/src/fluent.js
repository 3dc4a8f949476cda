/** Microsoft's Fluent UI Web Components, as far as the tab uses them, in the look of model-driven apps. */

import "@fluentui/web-components/badge.js"
import "@fluentui/web-components/button.js"
import "@fluentui/web-components/checkbox.js"
import "@fluentui/web-components/field.js"
import "@fluentui/web-components/message-bar.js"
import "@fluentui/web-components/progress-bar.js"
import "@fluentui/web-components/radio.js"
import "@fluentui/web-components/radio-group.js"
import "@fluentui/web-components/spinner.js"
import "@fluentui/web-components/switch.js"
import "@fluentui/web-components/text-input.js"
import { setTheme } from "@fluentui/web-components/theme/set-theme.js"
import { webLightTheme } from "@fluentui/tokens"
import { polyfillBodyAndObserve } from "@microsoft/focusgroup-polyfill/shadowless"

setTheme(webLightTheme)
// Arrow keys between radio buttons, for browsers that do not know the attribute focusgroup themselves
polyfillBodyAndObserve()
