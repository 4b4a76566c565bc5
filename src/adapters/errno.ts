/** The system's name for a failed call, `ENOENT` and the like; `null` for any other error. */
export function errnoOf(error: unknown): string | null {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string"
    ? error.code
    : null;
}
