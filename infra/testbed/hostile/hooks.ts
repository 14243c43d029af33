/** Module hooks of the hostile program (node:module `register`): its process has ed25519.ts in the place of the package. */
const STAND_IN = new URL('./ed25519.js', import.meta.url).href;

type Resolve = (specifier: string, context: { readonly parentURL?: string }, next: (specifier: string, context: object) => Promise<object>) => Promise<object>;

export const resolve: Resolve = async (specifier, context, next) =>
  specifier === '@noble/curves/ed25519.js' && context.parentURL !== STAND_IN ? { url: STAND_IN, shortCircuit: true } : next(specifier, context);
