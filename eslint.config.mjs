// What eslint looks for in the pages' modules: mistakes, not layout, which is prettier's.

import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["server/web/vendor/"] },
  {
    files: ["server/web/**/*.js", "abr/opinions/*.js"],
    ...js.configs.recommended,
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      ...js.configs.recommended.rules,
      eqeqeq: "error",
      "no-implicit-globals": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
];
