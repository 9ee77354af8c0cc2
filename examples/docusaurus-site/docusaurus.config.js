// A site whose docs/ is filled by `panaversity-fs hydrate`; nothing of the book is kept here.
// What is broken stops the build: a link, an anchor, an image.

/** @type {import('@docusaurus/types').Config} */
const config = {
  title: 'Writing Together',
  tagline: 'One text, many hands',
  // Where the site will be read, and below which path.
  url: 'http://localhost',
  baseUrl: '/',

  onBrokenLinks: 'throw',
  onBrokenAnchors: 'throw',
  onDuplicateRoutes: 'throw',

  markdown: {
    // `.md` is plain Markdown and `.mdx` is MDX, so that a `{` or `<` in a lesson ends no build.
    format: 'detect',
    hooks: {
      onBrokenMarkdownLinks: 'throw',
      onBrokenMarkdownImages: 'throw',
    },
  },

  presets: [
    [
      'classic',
      /** @type {import('@docusaurus/preset-classic').Options} */
      ({
        // The book is the whole site: its index page is the first page.
        docs: {routeBasePath: '/'},
        blog: false,
        pages: false,
      }),
    ],
  ],

  themeConfig:
    /** @type {import('@docusaurus/preset-classic').ThemeConfig} */
    ({
      navbar: {title: 'Writing Together'},
    }),
};

export default config;
