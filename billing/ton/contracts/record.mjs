// All fixtures as they should be: from a file's name below fixtures/ to its bytes.
import { createHash } from "node:crypto";
import { Cell } from "@ton/core";
import { compile } from "./compile.mjs";
import { configs, CUT } from "./config.mjs";
import { faults } from "./faults.mjs";
import { histories } from "./history.mjs";
import attacks from "./scenarios/attacks.mjs";
import fees from "./scenarios/fees.mjs";
import life from "./scenarios/life.mjs";
import limits from "./scenarios/limits.mjs";
import rent from "./scenarios/rent.mjs";
import storm from "./scenarios/storm.mjs";

const THEMES = { attacks, fees, life, limits, rent, storm };

export async function record(boc) {
  const code = Cell.fromBoc(boc)[0];
  const files = new Map();
  const hashes = {};
  for (const [prices, config] of Object.entries(configs())) {
    const bytes = config.toBoc({ idx: false, crc32: true });
    files.set(`${prices}.boc`, bytes);
    hashes[prices] = { hash: config.hash().toString("hex"), sha256: createHash("sha256").update(bytes).digest("hex") };
    for (const [theme, scenarios] of Object.entries(THEMES)) {
      const played = await histories(config, scenarios(code, prices === "old" ? 1n : CUT));
      files.set(`${prices}/${theme}.json`, text({ code_hash: code.hash().toString("hex"), scenarios: played }));
    }
  }
  files.set("configs.json", text(hashes));
  for (const { name, change } of faults) files.set(`faults/${name}.boc`, (await compile("channel", change)).boc);
  return files;
}

const text = (value) => Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
