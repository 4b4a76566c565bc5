import { Refusal } from "./refusals.ts";

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text for an XML element. Control characters become numeric references, as S3 writes them. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"\u0000-\u001f\u007f]/g, (c) => escapes[c] ?? `&#x${c.charCodeAt(0).toString(16)};`);
}

/** One element, or nothing when the value is undefined. */
export function element(name: string, value: string | number | boolean | undefined | null): string {
  return value === undefined || value === null ? "" : `<${name}>${escapeXml(String(value))}</${name}>`;
}

export function xmlDocument(root: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${root}`;
}

/** A document element in the S3 namespace. */
export function s3Document(name: string, content: string): string {
  return xmlDocument(`<${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${content}</${name}>`);
}

export interface XmlNode {
  name: string;
  text: string;
  children: XmlNode[];
}

const named: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (_, entity: string) => {
    if (!entity.startsWith("#")) return named[entity] ?? malformed();
    return String.fromCodePoint(entity[1] === "x" ? Number.parseInt(entity.slice(2), 16) : Number(entity.slice(1)));
  });
}

function malformed(): never {
  throw new Refusal("MalformedXML");
}

/** Enough XML for S3's request bodies: elements and text; attributes are skipped, anything odd is MalformedXML. */
export function parseXml(source: string): XmlNode {
  const root: XmlNode = { name: "", text: "", children: [] };
  const open: XmlNode[] = [root];
  const token = /<\?[^>]*\?>|<(\/?)([A-Za-z][\w:.-]*)((?:\s[^>]*?)?)(\/?)>|([^<]+)/gy;
  while (token.lastIndex < source.length) {
    const match = token.exec(source) ?? malformed();
    const [, closing, name, , empty, text] = match;
    const parent = open.at(-1) ?? malformed();
    if (text !== undefined) parent.text += unescapeXml(text);
    else if (name === undefined) continue;
    else if (closing) {
      if (open.length < 2 || open.pop()?.name !== name) malformed();
    } else {
      const node: XmlNode = { name, text: "", children: [] };
      parent.children.push(node);
      if (!empty) open.push(node);
    }
  }
  const [document] = root.children;
  if (open.length !== 1 || document === undefined || root.children.length > 1) malformed();
  return document;
}

/** The text of a node's child, if it is there. */
export function childText(node: XmlNode, name: string): string | undefined {
  return node.children.find((child) => child.name === name)?.text;
}
