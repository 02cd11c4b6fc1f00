// A title has a value for each segment. A live one has a single value: what its usual segments are worth.

export const ofSegment = (values, segment) => values[Math.min(segment, values.length - 1)];
