// The words of the page, in English and Chinese.

const WORDS = {
  overview: ['Overview', '概览'],
  nodes: ['Nodes', '节点'],
  pods: ['Pods', '容器组'],
  events: ['Events', '事件'],
  recentEvents: ['Recent events', '最近事件'],
  allKinds: ['All kinds', '全部类型'],
  namespace: ['Namespace', '命名空间'],
  allNamespaces: ['All namespaces', '全部命名空间'],
  filter: ['Filter', '筛选'],
  labelSelector: ['Label selector', '标签选择器'],
  wide: ['More columns', '更多列'],
  loading: ['Loading…', '加载中…'],
  live: ['live', '实时'],
  notLive: ['not live', '未连接'],
  denied: ['Denied', '拒绝访问'],
  failed: ['Failed', '失败'],
  nothing: ['Nothing here', '没有内容'],
  of: ['of', '/'],
  summary: ['Summary', '摘要'],
  yaml: ['YAML', 'YAML'],
  logs: ['Logs', '日志'],
  terminal: ['Terminal', '终端'],
  owners: ['Owner tree', '从属关系'],
  conditions: ['Conditions', '状况'],
  containers: ['Containers', '容器'],
  container: ['Container', '容器'],
  labels: ['Labels', '标签'],
  annotations: ['Annotations', '注解'],
  created: ['Created', '创建于'],
  edit: ['Edit', '编辑'],
  review: ['Review changes', '查看更改'],
  apply: ['Apply', '应用'],
  force: ['Take over the fields and apply', '强制接管字段并应用'],
  cancel: ['Cancel', '取消'],
  back: ['Back to editing', '返回编辑'],
  delete: ['Delete', '删除'],
  restart: ['Restart', '重启'],
  scale: ['Scale', '扩缩'],
  replicas: ['Replicas', '副本数'],
  cordon: ['Cordon', '停止调度'],
  uncordon: ['Uncordon', '恢复调度'],
  confirmDelete: ['Type the name to delete it', '输入名称以确认删除'],
  gone: ['This object has been deleted.', '该对象已被删除。'],
  noChange: ['The server would change nothing.', '服务器不会做任何更改。'],
  applies: ['Server-side apply of the changed fields', '对已更改字段进行服务端应用'],
  replaces: ['Replacement of the object: fields or items were removed', '替换对象：有字段或条目被移除'],
  conflict: ['Others own these fields', '这些字段由其他管理者拥有'],
  done: ['Done', '完成'],
  follow: ['Follow', '跟随'],
  previous: ['Previous container', '上一个容器'],
  search: ['Search', '搜索'],
  lines: ['lines', '行'],
  connect: ['Connect', '连接'],
  command: ['Command', '命令'],
  disconnected: ['The session has ended', '会话已结束'],
  memory: ['Memory', '内存'],
  cpu: ['CPU', 'CPU'],
  used: ['used', '已用'],
  requested: ['requested', '已请求'],
  packed: ['Pods by requested memory', '按内存请求排列的容器组'],
  noMetrics: ['No usage figures', '没有用量数据'],
  ready: ['ready', '就绪'],
  theme: ['Theme', '主题'],
  auto: ['System', '跟随系统'],
  light: ['Light', '浅色'],
  dark: ['Dark', '深色'],
  language: ['Language', '语言'],
  help: ['Keys', '快捷键'],
  close: ['Close', '关闭'],
  menu: ['Menu', '菜单'],
  skip: ['Skip to content', '跳到内容'],
  favourites: ['Kinds', '类型'],
  rows: ['rows', '行'],
  value: ['Value', '值'],
  name: ['Name', '名称'],
  status: ['Status', '状态'],
  reason: ['Reason', '原因'],
  message: ['Message', '消息'],
  age: ['Age', '时间'],
  type: ['Type', '类型'],
  image: ['Image', '镜像'],
  restarts: ['Restarts', '重启次数'],
  count: ['Count', '次数'],
  keyFilter: ['filter', '筛选'],
  keyMove: ['next, previous row', '下一行、上一行'],
  keyOpen: ['open the row', '打开该行'],
  keyGo: ['go to', '前往'],
  keyHelp: ['this help', '本帮助'],
  keyUp: ['up', '上一级'],
  unknownKind: ['The server serves no such kind', '服务器不提供该类型'],
} as const;

export type Word = keyof typeof WORDS;
export type Language = 'en' | 'zh';

let language: Language = stored();

function stored(): Language {
  const kept = localStorage.getItem('language');
  if (kept === 'en' || kept === 'zh') return kept;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

export function currentLanguage(): Language {
  return language;
}

export function setLanguage(to: Language) {
  language = to;
  localStorage.setItem('language', to);
  document.documentElement.lang = to === 'zh' ? 'zh-CN' : 'en';
}

export function t(word: Word): string {
  return WORDS[word][language === 'zh' ? 1 : 0];
}
