package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"quicktune/internal/figure"
)

// Page is a document of headings, texts, tables and figures, to be written as
// Markdown with files beside it or as one HTML file that needs nothing else.
//
// Texts may hold **bold**, `code` and references to footnotes, [^1].
type Page struct {
	Title  string
	Notes  []string // footnotes, from 1
	blocks []block
}

// block is a part of a page.
type block struct {
	kind   kind
	text   string
	level  int
	items  []string
	table  table
	figure figure.Figure
}

type kind int

const (
	headingBlock kind = iota
	textBlock
	listBlock
	tableBlock
	codeBlock
	figureBlock
)

// Heading adds a heading of level 2 or 3.
func (p *Page) Heading(level int, text string) {
	p.blocks = append(p.blocks, block{kind: headingBlock, level: level, text: text})
}

// Text adds a paragraph.
func (p *Page) Text(text string) { p.blocks = append(p.blocks, block{kind: textBlock, text: text}) }

// List adds items with bullets.
func (p *Page) List(items ...string) {
	if len(items) > 0 {
		p.blocks = append(p.blocks, block{kind: listBlock, items: items})
	}
}

// Table adds rows of cells, the first one the head. The first column is aligned
// to the left, all others to the right.
func (p *Page) Table(rows [][]string) {
	p.blocks = append(p.blocks, block{kind: tableBlock, table: rows})
}

// Code adds a command line.
func (p *Page) Code(text string) { p.blocks = append(p.blocks, block{kind: codeBlock, text: text}) }

// Figure adds a figure.
func (p *Page) Figure(f figure.Figure) {
	p.blocks = append(p.blocks, block{kind: figureBlock, figure: f})
}

// Figures lists the figures of the page.
func (p *Page) Figures() []figure.Figure {
	var list []figure.Figure
	for _, b := range p.blocks {
		if b.kind == figureBlock {
			list = append(list, b.figure)
		}
	}
	return list
}

// Markdown writes the page. dir is the address of the folder that holds its
// figures as NAME.svg; with "" they are left out.
func (p *Page) Markdown(w io.Writer, dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", p.Title)
	for i, k := range p.blocks {
		switch k.kind {
		case headingBlock:
			if dir == "" && p.onlyFigures(i) {
				continue
			}
			fmt.Fprintf(&b, "\n%s %s\n", strings.Repeat("#", k.level), k.text)
		case textBlock:
			fmt.Fprintf(&b, "\n%s\n", k.text)
		case listBlock:
			b.WriteString("\n")
			for _, item := range k.items {
				fmt.Fprintf(&b, "- %s\n", item)
			}
		case tableBlock:
			b.WriteString("\n")
			k.table.markdown(&b)
		case codeBlock:
			fmt.Fprintf(&b, "\n```\n%s\n```\n", k.text)
		case figureBlock:
			if dir != "" {
				fmt.Fprintf(&b, "\n![%s](%s/%s.svg)\n\n%s\n", k.figure.Alt, dir, k.figure.Name, k.figure.Caption)
			}
		}
	}
	for i, text := range p.Notes {
		fmt.Fprintf(&b, "\n[^%d]: %s\n", i+1, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// onlyFigures reports whether the section that block i heads has nothing but
// figures.
func (p *Page) onlyFigures(i int) bool {
	for _, k := range p.blocks[i+1:] {
		switch {
		case k.kind == headingBlock && k.level <= p.blocks[i].level:
			return true
		case k.kind != figureBlock && k.kind != headingBlock:
			return false
		}
	}
	return true
}

// markdown writes t with its first row as the head.
func (t table) markdown(b *strings.Builder) {
	line := func(cells []string) {
		b.WriteString("|")
		for _, cell := range cells {
			b.WriteString(" " + strings.ReplaceAll(cell, "|", `\|`) + " |")
		}
		b.WriteString("\n")
	}
	line(t[0])
	b.WriteString("|---|" + strings.Repeat("---:|", len(t[0])-1) + "\n")
	for _, row := range t[1:] {
		line(row)
	}
}

// styleSheet is that of every page. Wide tables scroll within themselves; of
// each figure the wide or the narrow form is shown.
const styleSheet = `:root{color-scheme:light dark;` + figure.LightTheme + `}
@media (prefers-color-scheme:dark){:root{` + figure.DarkTheme + `}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem 1rem 4rem;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.25;margin:1rem 0}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem}
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
nav ul{columns:2;padding-left:1.2rem}
a{color:inherit}
figure{margin:1rem 0 1.5rem}
figcaption,.small{font-size:.875rem}
svg{display:block;width:100%;height:auto}
.narrow{display:none}
.scroll{overflow-x:auto;margin:1rem 0;overflow-wrap:normal;background:linear-gradient(90deg,var(--page) 50%,transparent) 0 0/2rem 100% no-repeat local,linear-gradient(-90deg,var(--page) 50%,transparent) 100% 0/2rem 100% no-repeat local,linear-gradient(90deg,var(--grid),transparent) 0 0/.6rem 100% no-repeat scroll,linear-gradient(-90deg,var(--grid),transparent) 100% 0/.6rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{vertical-align:bottom;white-space:normal}
th:first-child,td:first-child{text-align:left;padding-left:0}
code{font-size:.875em}
pre{overflow-x:auto;padding:.6rem;border:1px solid var(--grid)}
td.long{white-space:normal;min-width:9rem;text-align:left}
td code{white-space:nowrap}
@media (max-width:700px){.wide{display:none}.narrow{display:block}nav ul{columns:1}table{font-size:.75rem}th,td{white-space:normal;padding:.25rem .3rem}}
@media print{nav{display:none}}`

// HTML writes the page as one file: no script, nothing that is loaded, light and
// dark as the reader's device asks for.
func (p *Page) HTML(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>%s</title>\n"+
		// An icon of nothing: a browser asks for one otherwise.
		"<link rel=\"icon\" href=\"data:,\">\n<style>\n%s\n</style>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n", html.EscapeString(p.Title), styleSheet, html.EscapeString(p.Title))
	p.contents(&b)
	section := 0
	for _, k := range p.blocks {
		switch k.kind {
		case headingBlock:
			id := ""
			if k.level == 2 {
				section++
				id = fmt.Sprintf(" id=\"s%d\"", section)
			}
			fmt.Fprintf(&b, "<h%d%s>%s</h%d>\n", k.level, id, inline(k.text), k.level)
		case textBlock:
			fmt.Fprintf(&b, "<p>%s</p>\n", inline(k.text))
		case listBlock:
			b.WriteString("<ul>\n")
			for _, item := range k.items {
				fmt.Fprintf(&b, "<li>%s</li>\n", inline(item))
			}
			b.WriteString("</ul>\n")
		case tableBlock:
			k.table.html(&b)
		case codeBlock:
			fmt.Fprintf(&b, "<pre><code>%s</code></pre>\n", html.EscapeString(k.text))
		case figureBlock:
			if err := writeFigure(&b, k.figure); err != nil {
				return err
			}
		}
	}
	if len(p.Notes) > 0 {
		b.WriteString("<ol class=\"small\">\n")
		for i, text := range p.Notes {
			fmt.Fprintf(&b, "<li id=\"n%d\">%s</li>\n", i+1, inline(text))
		}
		b.WriteString("</ol>\n")
	}
	b.WriteString("</main>\n</body>\n</html>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// contents links to the sections of a page that has more than a few.
func (p *Page) contents(b *strings.Builder) {
	var titles []string
	for _, k := range p.blocks {
		if k.kind == headingBlock && k.level == 2 {
			titles = append(titles, k.text)
		}
	}
	if len(titles) < 4 {
		return
	}
	b.WriteString("<nav aria-label=\"Contents\">\n<ul>\n")
	for i, t := range titles {
		fmt.Fprintf(b, "<li><a href=\"#s%d\">%s</a></li>\n", i+1, inline(t))
	}
	b.WriteString("</ul>\n</nav>\n")
}

func writeFigure(b *strings.Builder, f figure.Figure) error {
	wide, err := f.Inline(figure.Wide)
	if err != nil {
		return err
	}
	narrow, err := f.Inline(figure.Narrow)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "<figure>\n<div class=\"wide\">%s</div>\n<div class=\"narrow\">%s</div>\n<figcaption>%s</figcaption>\n</figure>\n", wide, narrow, inline(f.Caption))
	return nil
}

func (t table) html(b *strings.Builder) {
	b.WriteString("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\">\n<table>\n<thead>\n<tr>")
	for _, cell := range t[0] {
		fmt.Fprintf(b, "<th scope=\"col\">%s</th>", inline(cell))
	}
	b.WriteString("</tr>\n</thead>\n<tbody>\n")
	for _, row := range t[1:] {
		b.WriteString("<tr>")
		for _, cell := range row {
			if len(cell) > longCell && strings.Contains(cell, " ") {
				fmt.Fprintf(b, "<td class=\"long\">%s</td>", inline(cell))
				continue
			}
			fmt.Fprintf(b, "<td>%s</td>", unbroken.Replace(inline(cell)))
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody>\n</table>\n</div>\n")
}

// Cells of more bytes than these are broken into lines on any screen.
const longCell = 36

// unbroken keeps intervals and numbers with their units in one piece.
var unbroken = strings.NewReplacer(", ", ",\u00a0", " %", "\u00a0%")

// inline writes the bold, the code and the references of a text as HTML.
func inline(text string) string {
	var b strings.Builder
	for text != "" {
		at := strings.IndexAny(text, "*`[")
		if at < 0 {
			break
		}
		b.WriteString(html.EscapeString(text[:at]))
		text = text[at:]
		if body, rest, ok := enclosed(text, "**", "**"); ok {
			fmt.Fprintf(&b, "<strong>%s</strong>", inline(body))
			text = rest
		} else if body, rest, ok := enclosed(text, "`", "`"); ok {
			fmt.Fprintf(&b, "<code>%s</code>", html.EscapeString(body))
			text = rest
		} else if body, rest, ok := enclosed(text, "[^", "]"); ok {
			fmt.Fprintf(&b, "<sup><a href=\"#n%s\">%s</a></sup>", html.EscapeString(body), html.EscapeString(body))
			text = rest
		} else {
			b.WriteString(html.EscapeString(text[:1]))
			text = text[1:]
		}
	}
	b.WriteString(html.EscapeString(text))
	return b.String()
}

// enclosed cuts a text that begins with open at the next close.
func enclosed(text, open, close string) (body, rest string, ok bool) {
	after, ok := strings.CutPrefix(text, open)
	if !ok {
		return "", "", false
	}
	body, rest, ok = strings.Cut(after, close)
	return body, rest, ok && body != ""
}
