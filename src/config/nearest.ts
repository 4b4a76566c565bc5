/** Edits (insert, delete, replace, swap of neighbours) from one word to another: the optimal string alignment distance. */
export function editDistance(a: string, b: string): number {
  let older: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let edits = Math.min(above[column]! + 1, current[column - 1]! + 1, above[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) edits = Math.min(edits, older[column - 2]! + 1);
      current.push(edits);
    }
    older = above;
    above = current;
  }
  return above[b.length]!;
}

/** `s3_Region` and `s3.region` are the same word here. */
const plain = (word: string): string => word.toLowerCase().replace(/[^a-z0-9]/g, "");
const lastSegment = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/**
 * The known dotted key that looks most like `path`, as a whole or by its last segment (`region` means `s3.region`), and
 * how many edits apart; the first of equals.
 */
export function nearestKey(path: string, known: readonly string[]): { key: string; edits: number } | null {
  let best: { key: string; edits: number } | null = null;
  for (const key of known) {
    const whole = editDistance(plain(path), plain(key));
    const tail = editDistance(plain(lastSegment(path)), plain(lastSegment(key)));
    // By the tail alone is a weaker match than by the whole.
    const edits = Math.min(whole, tail + 0.5);
    if (best === null || edits < best.edits) best = { key, edits };
  }
  return best;
}
