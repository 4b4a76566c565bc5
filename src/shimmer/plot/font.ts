/**
 * Letters for the PNG: 5 × 7 points each, a row per character in base 32 (bit 4 is the left point), drawn for this
 * program. A sign that is not here is drawn as a box.
 */
export const glyphWidth = 5;
export const glyphHeight = 7;

const rows =
  "  0000000 A ehhvhhh B uhhuhhu " +
  "C ehggghe D uhhhhhu E vgguggv F vgguggg G ehgnhhf H hhhvhhh I e44444e J 72222ic K hikokih L ggggggv M hrllhhh N hhpljhh " +
  "O ehhhhhe P uhhuggg Q ehhhlid R uhhukih S fgge11u T v444444 U hhhhhhe V hhhhha4 W hhhllla X hha4ahh Y hhha444 Z v1248gv " +
  "0 ehjlphe 1 4c4444e 2 eh1248v 3 v2421he 4 26aiv22 5 vgu11he 6 68guhhe 7 v124888 8 ehhehhe 9 ehhf12c " +
  "a 00e1fhf b ggmphhu c 00egghe d 11djhhf e 00ehvge f 698s888 g 0fhhf1e h ggmphhh i 40c444e j 20622ic k ggikoki " +
  "l c44444e m 00qllhh n 00mphhh o 00ehhhe p 00uhugg q 00djf11 r 00mpggg s 00ege1u t 88s8896 u 00hhhjd v 00hhha4 " +
  "w 00hhlla x 00ha4ah y 00hhf1e z 00v248v " +
  ". 00000cc , 0000c48 : 0cc0cc0 ; 0cc0c48 - 000v000 + 044v440 _ 000000v / 01248g0 ( 2488842 ) 8422248 % op248j3 ^ 4ah0000 " +
  "* 04lel40 = 00v0v00 ' c480000 # aavavaa ? eh12404 ! 4444404 [ e88888e ] e22222e < 248g842 > 8421248 & cik8lid | 4444444 · 000cc00";

const glyphs = readGlyphs(rows);
const box = glyphOf("vhhhhhv");

/** Seven rows of five bits. */
export function glyph(sign: string): Uint8Array {
  return glyphs.get(sign) ?? box;
}

function readGlyphs(text: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (let at = 0; at < text.length; at += glyphHeight + 3)
    found.set(text[at]!, glyphOf(text.slice(at + 2, at + 2 + glyphHeight)));
  return found;
}

function glyphOf(letters: string): Uint8Array {
  return Uint8Array.from(letters, (letter) => Number.parseInt(letter, 32));
}
