/**
 * A signal that follows another for as long as one piece of work lasts. AbortSignal.any leaves something behind in the
 * signals that it follows, for ever if somebody listens: a daemon would grow by it with every pass.
 */
export interface LinkedSignal {
  signal: AbortSignal;
  /** The work is over: whoever listens to the signal is let go. */
  end(): void;
}

export function linkedSignal(parent: AbortSignal): LinkedSignal {
  const own = new AbortController();
  const follow = (): void => own.abort(parent.reason);
  if (parent.aborted) follow();
  else parent.addEventListener("abort", follow);
  return {
    signal: own.signal,
    end() {
      parent.removeEventListener("abort", follow);
      own.abort();
    },
  };
}
