// A step begins at its top, also for those who come from the end of a long one.
let shown;

export default ({ data }) => {
  if (shown !== data.place) document.querySelector("[data-testid=stMain]")?.scrollTo(0, 0);
  shown = data.place;
};
