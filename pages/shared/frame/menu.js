// On a phone the doors lie in a menu over the page: who has gone through one wants to see what is behind it.
const PHONE = 768; // pixels, below which Streamlit lays the menu over the page
let shown;

export default ({ data }) => {
  const menu = document.querySelector('[data-testid="stSidebar"]');
  const covers = window.innerWidth <= PHONE && menu?.dataset.collapsed === "false";
  if (shown !== undefined && shown !== data.page && covers) {
    menu.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
  }
  shown = data.page;
};
