// Reads {"definitions": [...], "expressions": [[text, variables], ...]} and answers what is wrong with each definition, and each
// expression's value, by the reference implementations.
const validate = require("asl-validator");
const jsonata = require("jsonata");

async function main() {
  const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const problems = asked.definitions.map((one) =>
    validate(one, { checkPaths: true, checkArn: true }).errors.map((found) => JSON.stringify(found)));
  const values = [];
  for (const [text, variables] of asked.expressions) {
    values.push((await jsonata(text).evaluate(undefined, variables)) ?? null);
  }
  process.stdout.write(JSON.stringify({ problems, values }));
}

main();
