// Drives a real browser through the pages of a running service, and keeps pictures of each if PICTURES is not empty.
//
// node main.mjs ISSUER PICTURES [AREA…], with ADMIN_TOKEN and CHROMIUM in the environment.
import { Driver } from './driver.mjs';
import { Service } from './service.mjs';
import { console_ } from './console.mjs';
import { keyboard } from './keyboard.mjs';
import { keys } from './keys.mjs';
import { portal } from './portal.mjs';
import { applications } from './applications.mjs';
import { secondFactor } from './second_factor.mjs';
import { signIn } from './sign_in.mjs';

const [issuer, pictures, ...chosen] = process.argv.slice(2);
const areas = { signIn, keyboard, secondFactor, portal, applications, console_, keys };
const service = await Service.at(issuer, process.env.ADMIN_TOKEN);
const driver = await Driver.launch(process.env.CHROMIUM, pictures);
try {
  for (const area of chosen.length ? chosen.map((name) => areas[name]) : Object.values(areas)) {
    const begun = performance.now();
    const done = await area(driver, service);
    console.log(`${done} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  }
} finally {
  await driver.close();
  service.close();
}
